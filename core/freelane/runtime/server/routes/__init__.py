"""What each route of the server answers, one module a protocol."""
