"""Frozen types that the parts exchange; nothing here reads, writes or waits."""
