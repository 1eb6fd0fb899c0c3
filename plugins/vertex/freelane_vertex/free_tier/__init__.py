"""What Google gives, in dated files."""
