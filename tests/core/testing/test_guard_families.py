"""The cases of estimates and kill switches, each on a provider that is wrong in just its way."""

import textwrap

import pytest

pytest_plugins = ["pytester"]

COUNTS = """
from datetime import UTC, datetime
from freelane.model.estimate import *
from freelane.model.quota import Unit

count = iter(range(1, 9))
LATER = datetime(3000, 1, 1, tzinfo=UTC)


class TestCounts(QuotaConformance):
    @pytest.fixture
    def provider(self):
        return memory.counting({wrong})
"""
SWITCHES = """
from dataclasses import replace
from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.registry import Registry


class Wrong:
    def __init__(self, port):
        self._port = port

    def arm(self, operation, at, *, deadline):
        self._port.arm(operation, at, deadline=deadline)

    def disarm(self, operation, *, deadline):
        self._port.disarm(operation, deadline=deadline)
{wrong}

class TestSwitches(KillSwitchConformance):
    patience_s = 12.0

    @pytest.fixture
    def provider(self, tmp_path):
        registry = Registry(environ={{}})
        info = registry.info("local")
        context = ProviderContext(
            name="local", owner="0" * 16, emulated=False, clock=SystemClock(),
            folder=tmp_path / "local", environ={{"HOME": str(tmp_path)}},
        )
        provider = registry.connect(info, registry.config_class(info)(), context)
        return replace(provider, kill_switch=Wrong(provider.kill_switch))
"""


def test_a_right_reporter_passes(run_suite):
    run_suite(COUNTS.format(wrong="")).assert_outcomes(passed=7)


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ("a_job", "estimate_job=lambda spec: Estimate(egress_bytes=next(count))"),
        ("a_job", "estimate_job=lambda spec: Estimate(egress_bytes=-1)"),
        ("a_job", "estimate_job=lambda spec: Estimate(lines=(memory.line(what=' '),))"),
        ("a_job", "estimate_job=lambda spec: Estimate(lines=(memory.line(per_hour=0.5),))"),
        ("a_job", "estimate_job=lambda spec: Estimate(lines=(UnknownCost(what='x', why=''),))"),
        ("an_endpoint", "estimate_endpoint=lambda spec: Estimate(egress_bytes=next(count))"),
        (
            "an_endpoint",
            "estimate_endpoint=lambda spec: Estimate(lines=(memory.line(unit=Unit.NANO_USD),))",
        ),
        ("a_prediction", "estimate_prediction=lambda *_: Estimate(lines=(memory.line(),))"),
        ("a_text", "estimate_generation=lambda *_: Estimate(lines=(memory.line(),))"),
        ("what_cannot_be_read", "account=lambda deadline: None"),
        (
            "each_reading",
            "usage=lambda deadline: [Reading(quota='q', used=-1, as_of=datetime.now(UTC))]",
        ),
        (
            "each_reading",
            "usage=lambda deadline: [Reading(quota='q', used=1, as_of=datetime(2026, 1, 1))]",
        ),
        (
            "each_reading",
            "usage=lambda deadline: [Reading(quota='q', used=1, as_of=LATER)]",
        ),
    ],
)
def test_a_wrong_reporter_fails_the_case(run_suite, case, wrong):
    result = run_suite(COUNTS.format(wrong=wrong), "-k", case)

    result.assert_outcomes(failed=1, deselected=6)


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        (
            "test_what_is_armed_before_it_exists_ends_at_its_time",
            """
            def arm(self, operation, at, *, deadline):
                self._port.arm(operation, at.fromtimestamp(0, at.tzinfo), deadline=deadline)
            """,
        ),
        (
            "test_an_armed_switch_can_be_moved_later",
            """
            armed = False
            def arm(self, operation, at, *, deadline):
                if not self.armed:
                    self._port.arm(operation, at, deadline=deadline)
                self.armed = True
            """,
        ),
        (
            "test_a_switch_that_was_taken_away_ends_nothing",
            """
            def disarm(self, operation, *, deadline):
                pass
            """,
        ),
        (
            "test_a_switch_that_is_not_there_may_be_taken_away",
            """
            def disarm(self, operation, *, deadline):
                raise LookupError(operation.id)
            """,
        ),
    ],
)
def test_a_wrong_kill_switch_fails_the_case(run_suite, case, wrong):
    body = textwrap.indent(textwrap.dedent(wrong), "    ")

    result = run_suite(SWITCHES.format(wrong=body), "-k", case)

    assert result.parseoutcomes().get("failed") == 1
