"""What runs beside the user's code, and what starts, limits and stops it."""
