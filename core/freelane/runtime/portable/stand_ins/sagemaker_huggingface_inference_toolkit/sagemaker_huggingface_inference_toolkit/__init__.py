"""Stands in for AWS's toolkit for Hugging Face: what an inference script imports of it."""
