"""Stands in for sagemaker-containers: what AWS's scikit-learn examples import of it."""
