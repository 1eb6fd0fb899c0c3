"""The seam between core and a provider's plugin: ports, capabilities, one hook."""
