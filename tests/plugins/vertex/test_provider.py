import pytest

from freelane.contract.capability import Capability, Level
from freelane.registry import Registry, unsupported

NAMES = ["vertex", "gemini", "cloudrun"]


@pytest.fixture
def registry():
    return Registry(environ={})


@pytest.mark.parametrize("name", NAMES)
def test_each_is_listed_bills_and_can_nothing_yet(registry, name):
    info = registry.info(name)
    assert not info.owned
    assert set(info.capabilities) == set(Capability)
    assert all(s.level is Level.NOT_IMPLEMENTED and s.note for s in info.capabilities.values())


@pytest.mark.parametrize("name", NAMES)
def test_training_there_is_refused_naming_who_can(registry, name):
    error = unsupported(Capability.TRAIN, name, registry.info(name), registry.infos())
    assert error.alternatives == ["local"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("vertex", {"project": "p", "region": "us-central1", "train": {"machine_type": "n1"}}),
        ("gemini", {"api_key_env": "KEY", "model": "gemini-3.5-flash-lite"}),
        ("cloudrun", {"project": "p", "region": "us-central1"}),
    ],
)
def test_the_table_of_each_is_read(registry, name, values):
    model = registry.config_class(registry.info(name))
    assert model.model_validate(values).model_dump(include=set(values), exclude_none=True) == values
    with pytest.raises(ValueError, match="extra"):
        model.model_validate({"regoin": "x"})
