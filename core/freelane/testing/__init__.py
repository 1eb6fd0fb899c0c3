"""The conformance suite: what any provider must do, as base classes for its tests."""
