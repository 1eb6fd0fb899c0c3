import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.registry import Registry
from freelane.testing import ProviderConformance


@pytest.fixture
def provider(install_plugin, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(install_plugin("freelane-acme")))
    registry = Registry(environ={})
    info = registry.info("acme")
    context = ProviderContext(
        name="acme",
        owner="0123456789abcdef",
        emulated=False,
        clock=SystemClock(),
        folder=tmp_path / "acme",
        environ={"HOME": str(tmp_path)},
    )
    return registry.connect(info, registry.config_class(info)(), context)


class TestAcme(ProviderConformance):
    pass
