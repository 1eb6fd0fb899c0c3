"""Records of what Freelane made; every function takes the caller's connection.

Nothing here commits: the service that opened the transaction does.
"""
