"""The one HTTP transport of the data plane: connections, a total deadline, attempts."""
