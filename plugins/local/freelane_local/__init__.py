"""The local provider: this machine is its own cloud."""
