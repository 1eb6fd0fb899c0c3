"""A standard case cannot be lost unseen."""

import subprocess
import sys

import pytest

from freelane.contract.capability import Capability

pytest_plugins = ["pytester"]

CLASS = """
class TestArtifacts(ArtifactsConformance):
    @pytest.fixture
    def provider(self):
        return memory.honest()
"""


def test_a_few_lines_run_a_family(run_suite):
    run_suite(CLASS).assert_outcomes(passed=6, skipped=1)


def test_a_case_set_to_none_fails(run_suite):
    result = run_suite(CLASS + "    test_the_same_model_is_kept_once = None\n")

    result.assert_outcomes(passed=4, skipped=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*TestArtifacts: the standard case test_the_same_model_is_kept_once is dropped*"]
    )


def test_a_case_set_to_none_later_fails(run_suite):
    result = run_suite(CLASS + "\nTestArtifacts.test_the_same_model_is_kept_once = None\n")

    result.assert_outcomes(passed=4, skipped=1, failed=1)


def test_a_case_dropped_by_a_mixin_fails(run_suite):
    module = CLASS.replace("(Artifacts", "(Drops, Artifacts")

    result = run_suite("class Drops:\n    test_the_same_model_is_kept_once = None\n" + module)

    result.assert_outcomes(passed=4, skipped=1, failed=1)


def test_a_case_deleted_from_its_family_fails(run_suite):
    module = (
        "case_ = ArtifactsConformance.test_the_same_model_is_kept_once\n"
        "del ArtifactsConformance.test_the_same_model_is_kept_once\n"
        f"{CLASS}\n"
        "def teardown_module():\n"
        "    ArtifactsConformance.test_the_same_model_is_kept_once = case_\n"
    )

    result = run_suite(module)

    result.assert_outcomes(passed=4, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*test_the_same_model_is_kept_once is dropped*"])


OVERRIDE = """
    def test_the_same_model_is_kept_once(self, workshop):
        assert {holds}
"""


def test_an_override_without_a_reason_fails(run_suite):
    result = run_suite(CLASS + OVERRIDE.format(holds=True))

    result.assert_outcomes(passed=5, skipped=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_the_same_model_is_kept_once is overridden; mark*@pytest.mark.xfail(reason=...)*"]
    )


@pytest.mark.parametrize(
    "mark", ["xfail", "xfail(reason='')", "skip(reason='slow')", "filterwarnings('ignore')"]
)
def test_an_override_with_another_mark_fails(run_suite, mark):
    override = OVERRIDE.format(holds=False).replace("    def", f"    @pytest.mark.{mark}\n    def")

    result = run_suite(CLASS + override)

    result.stdout.fnmatch_lines(["*FAILED*test_no_standard_case_is_dropped*"])


def test_an_override_with_a_reason_stands(run_suite):
    override = OVERRIDE.format(holds=False).replace(
        "    def", "    @pytest.mark.xfail(reason='memory forgets')\n    def"
    )

    run_suite(CLASS + override).assert_outcomes(passed=5, skipped=1, xfailed=1)


def test_an_override_with_a_reason_may_call_the_standard_case(run_suite):
    module = CLASS + (
        "    @pytest.mark.xfail(reason='memory forgets')\n"
        "    def test_the_same_model_is_kept_once(self, workshop):\n"
        "        super().test_the_same_model_is_kept_once(workshop)\n"
        "        raise AssertionError\n"
    )

    run_suite(module).assert_outcomes(passed=5, skipped=1, xfailed=1)


def test_the_guard_itself_cannot_be_replaced(run_suite):
    result = run_suite(CLASS + "    test_no_standard_case_is_dropped = None\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*TestArtifacts may not replace test_no_standard_case_is_dropped*"]
    )


def test_a_declared_family_that_no_class_runs_fails(run_suite):
    result = run_suite(CLASS.replace("Artifacts(Artifacts", "Declared(Capability"))

    result.stdout.fnmatch_lines(["*no test class of this module runs ArtifactsConformance*"])
    result.assert_outcomes(passed=2 + len(Capability), failed=1)


def test_a_family_that_is_not_collected_does_not_run(run_suite):
    module = "class TestAll(ProviderConformance):\n    @pytest.fixture\n"
    module += "    def provider(self):\n        return memory.honest()\n"
    module += CLASS.replace("TestArtifacts(Artifacts", "TestDeclared(Capability")

    result = run_suite(module + "\nTestAll.__test__ = False\n")

    result.stdout.fnmatch_lines(["*no test class of this module runs ArtifactsConformance*"])


def test_without_pytest_the_suite_says_what_to_install():
    code = "import sys; sys.modules['pytest'] = None\nimport freelane.testing"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "ImportError: freelane.testing needs pytest: pip install pytest" in done.stderr
