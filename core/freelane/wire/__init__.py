"""The data plane both ways, as pure codecs: bytes <-> values, errors <-> HTTP statuses."""
