"""Stands in for AWS's sagemaker-containers, for scripts that import it; it has no servers."""

from .beta.framework import training_env

__all__ = ["training_env"]
