"""One module a revision, oldest first by number; never changed once released."""
