"""What Google takes, in dated files."""
