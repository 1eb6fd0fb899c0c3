import pytest

from freelane.contract.capability import Capability, Level
from freelane.registry import Registry, unsupported


@pytest.fixture
def registry():
    return Registry(environ={})


def test_it_is_listed_bills_and_can_nothing_yet(registry):
    info = registry.info("sagemaker")
    assert not info.owned
    assert all(s.level is Level.NOT_IMPLEMENTED and s.note for s in info.capabilities.values())
    assert set(info.capabilities) == set(Capability)


def test_training_there_is_refused_naming_who_can(registry):
    error = unsupported(Capability.TRAIN, "sagemaker", registry.info("sagemaker"), registry.infos())
    assert error.alternatives == ["local"]
    assert str(error) == (
        "sagemaker does not train (this version knows what SageMaker gives and costs, and no "
        "more); local does"
    )


def test_its_table_is_read(registry):
    model = registry.config_class(registry.info("sagemaker"))
    read = model.model_validate({"region": "us-east-1", "train": {"instance_type": "ml.m5.xlarge"}})
    assert (read.region, read.train.instance_type) == ("us-east-1", "ml.m5.xlarge")
    with pytest.raises(ValueError, match="extra"):
        model.model_validate({"regoin": "x"})
