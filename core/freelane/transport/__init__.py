"""The one HTTP transport of the data plane."""
