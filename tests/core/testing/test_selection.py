"""Cases are selected by what is declared, and hold it to that, both ways."""

import pytest

from freelane.contract.capability import Capability
from freelane.testing.capabilities import _ASK, _FAMILY, _PART_OF, _PORT
from freelane.testing.cases import standard_cases

pytest_plugins = ["pytester"]


def _module(provider, family="CapabilityConformance"):
    return f"""
class TestProvider({family}):
    @pytest.fixture
    def provider(self, tmp_path):
        return {provider}
"""


def test_one_class_runs_every_family_that_is_declared(run_suite):
    result = run_suite(_module("memory.honest()", "ProviderConformance"))

    outcomes = result.parseoutcomes()
    assert "failed" not in outcomes
    assert outcomes["passed"] == 6 + 2 + len(Capability)
    result.stdout.fnmatch_lines(["*memory does not declare train*"])


def test_a_port_that_is_declared_and_missing_fails(run_suite):
    result = run_suite(
        _module("memory.provider(capabilities={Capability.INVENTORY: FULL})"), "-k", "refused"
    )

    result.assert_outcomes(passed=len(Capability) - 1, failed=1)
    result.stdout.fnmatch_lines(["*inventory is declared and there is no inventory*"])


def test_an_undeclared_port_that_answers_fails(run_suite):
    inventory = "memory.SilentInventory(refuses=False)"

    result = run_suite(
        _module(f"memory.provider(capabilities={{}}, inventory={inventory})"), "-k", "refused"
    )

    result.assert_outcomes(passed=len(Capability) - 1, failed=1)
    result.stdout.fnmatch_lines(["*DID NOT RAISE*CapabilityUnsupported*"])


def test_an_undeclared_port_that_refuses_passes(run_suite):
    inventory = "memory.SilentInventory(refuses=True)"

    result = run_suite(
        _module(f"memory.provider(capabilities={{}}, inventory={inventory})"), "-k", "refused"
    )

    result.assert_outcomes(passed=len(Capability))


EXCLUDED = "test_the_manifest_can_be_read_alone"


def test_an_excluded_case_that_is_refused_passes(run_suite):
    provider = f"memory.partial({EXCLUDED!r}, refuses=['manifest'])"

    result = run_suite(_module(provider, "ArtifactsConformance"), "-k", EXCLUDED)

    result.assert_outcomes(passed=1)


def test_an_excluded_case_that_works_fails(run_suite):
    provider = f"memory.partial({EXCLUDED!r})"

    result = run_suite(_module(provider, "ArtifactsConformance"), "-k", EXCLUDED)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*excludes {EXCLUDED}, so the case must raise*"])


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("test_no_such_case", "is not a standard case"),
        ("test_an_endpoint_becomes_ready", None),
        ("test_stop_ends_a_running_job", "does not need artifacts"),
    ],
)
def test_partial_support_excludes_cases_of_its_own_only(run_suite, name, fault):
    provider = f"memory.partial({name!r})"

    result = run_suite(_module(provider), "-k", "keeps_the_contract")

    result.assert_outcomes(**({"failed": 1} if fault else {"passed": 1}))
    if fault:
        result.stdout.fnmatch_lines([f"*{fault}*"])


def test_every_capability_is_asked_both_ways():
    assert set(_PORT) | set(_PART_OF) == set(Capability)
    assert set(_ASK) | {Capability.METRICS} == set(Capability)


def test_every_capability_has_a_standard_case():
    needed = {need for case in standard_cases().values() for need in case.needs}

    assert needed == set(Capability)
    assert set(_FAMILY) == set(_PORT)
