"""Stands in for sagemaker-inference: what an inference script imports of it."""
