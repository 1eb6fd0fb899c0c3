import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.registry import Registry
from freelane.testing import ProviderConformance


@pytest.fixture
def provider(tmp_path):
    registry = Registry(environ={"FREELANE_PLUGINS": "local"})
    info = registry.info("local")
    context = ProviderContext(
        name="local",
        owner="0123456789abcdef",
        emulated=False,
        clock=SystemClock(),
        folder=tmp_path / "local",
        environ={"HOME": str(tmp_path)},
    )
    return registry.connect(info, registry.config_class(info)(), context)


class TestLocal(ProviderConformance):
    pass
