"""The only part of sagemaker-containers that scripts use."""
