"""What AWS gives, in dated files."""
