"""The data plane as bytes, both ways: pure codecs."""
