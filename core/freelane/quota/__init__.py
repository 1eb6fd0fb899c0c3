"""The guard: what is free, what is left of it, and one ledger for all of it."""
