"""Amazon SageMaker: what it gives and what it costs; training and serving follow."""
