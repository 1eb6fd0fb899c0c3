import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import Outcome, ProviderContext
from freelane.errors import CapabilityUnsupported
from freelane.model.resources import Accelerator, Resources
from freelane.registry import Registry
from freelane.testing import Conformance


class TestAcmeAlone(Conformance):
    """What no standard case says, with the suite's own fixtures."""

    @pytest.fixture
    def connected(self, install_plugin, monkeypatch, tmp_path):
        monkeypatch.syspath_prepend(str(install_plugin("freelane-acme")))
        registry = Registry(environ={})
        info = registry.info("acme")
        config = registry.config_class(info).model_validate({"greeting": "welcome to acme"})
        context = ProviderContext(
            name="acme",
            owner="0123456789abcdef",
            emulated=False,
            clock=SystemClock(),
            folder=tmp_path / "acme",
            environ={"SESAME": "open"},
        )
        return registry, registry.connect(info, config, context), context, config

    @pytest.fixture
    def provider(self, connected):
        return connected[1]

    def test_its_greeting_is_the_first_line_of_a_log(self, workshop):
        handle = workshop.submit(workshop.project.job("print('mine')"))
        page = workshop.trainer.logs(handle, after=None, deadline=workshop.deadline)

        assert page.lines[0] == "welcome to acme"

    def test_it_offers_no_accelerator(self, workshop):
        resources = Resources(accelerator=Accelerator(count=1))

        with pytest.raises(CapabilityUnsupported, match="acme has no accelerators"):
            workshop.submit(workshop.project.job("", resources=resources))

    def test_its_checks_run(self, connected, deadline):
        registry, provider, context, config = connected

        (check,) = registry.checks(provider.info, config, context).run(deadline=deadline)

        assert (check.subject, check.outcome) == ("python3", Outcome.OK)
