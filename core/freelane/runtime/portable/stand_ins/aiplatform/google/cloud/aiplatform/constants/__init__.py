"""Names that custom prediction routines import."""
