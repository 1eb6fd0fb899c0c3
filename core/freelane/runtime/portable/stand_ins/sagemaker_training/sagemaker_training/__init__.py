"""Stands in for AWS's sagemaker-training toolkit, for scripts that read their job from it."""
