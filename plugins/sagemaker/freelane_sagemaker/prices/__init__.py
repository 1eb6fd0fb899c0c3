"""What AWS takes, in dated files."""
