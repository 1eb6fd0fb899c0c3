"""Functions that custom prediction routines import."""
