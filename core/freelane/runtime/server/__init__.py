"""The inference server of an endpoint on this machine: one HTTP process, workers beside it."""
