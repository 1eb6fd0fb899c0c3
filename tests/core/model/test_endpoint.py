"""What two deployments of an endpoint share is told from their hashes."""

from freelane.model.endpoint import endpoint_hash, is_same_service

SERVED, OTHER = "a" * 64, "b" * 64


def test_another_end_alone_is_the_same_service():
    one, other = endpoint_hash(SERVED, "1" * 64), endpoint_hash(SERVED, "2" * 64)
    assert one != other
    assert is_same_service(one, other)


def test_another_model_is_another_service():
    whole = "1" * 64
    assert not is_same_service(endpoint_hash(SERVED, whole), endpoint_hash(OTHER, whole))
