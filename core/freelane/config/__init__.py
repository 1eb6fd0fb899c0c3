"""What the user configured, from every layer, with the origin of each value."""
