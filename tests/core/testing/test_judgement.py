"""Each standard case fails on a provider that is wrong in just the way it is about."""

import textwrap

import pytest

pytest_plugins = ["pytester"]

MODULE = """
from dataclasses import dataclass, replace
from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.errors import *
from freelane.model.job import JobHandle, JobStatus, LogPage
from freelane.model.lifecycle import JobState
from freelane.model.operation import Absent, Found
from freelane.registry import Registry


class Around:
    def __init__(self, port):
        self._port = port

    def __getattr__(self, name):
        return getattr(self._port, name)


class Wrong(Around):
{wrong}


class TestWrong(ProviderConformance):
    patience_s = {patience_s}

    @pytest.fixture
    def provider(self, tmp_path):
        registry = Registry(environ={{}})
        info = registry.info("acme")
        context = ProviderContext(
            name="acme", owner="0" * 16, emulated=False, clock=SystemClock(),
            folder=tmp_path / "acme", environ={{}},
        )
        provider = registry.connect(info, registry.config_class(info)(), context)
        return replace(provider, {port}=Wrong(provider.{port}))
"""

ENDLESS = {
    "test_a_job_ends_at_its_longest_run_time",
    "test_a_removed_job_runs_no_more_and_may_be_removed_again",
    "test_logs_show_while_the_job_runs",
    "test_stop_ends_a_running_job",
}
"""Cases that can only give up waiting."""

WRONG_TRAINERS = {
    "test_a_job_succeeds_and_hands_over_its_model": """
        def status(self, handle, *, deadline):
            return replace(self._port.status(handle, deadline=deadline), artifact=None)
    """,
    "test_a_run_that_writes_no_model_has_no_artifact": """
        def status(self, handle, *, deadline):
            return replace(self._port.status(handle, deadline=deadline), artifact=handle)
    """,
    "test_metrics_json_becomes_the_jobs_metrics": """
        def status(self, handle, *, deadline):
            return replace(self._port.status(handle, deadline=deadline), metrics={})
    """,
    "test_a_failing_script_fails_the_job_with_its_reason": """
        def status(self, handle, *, deadline):
            return replace(self._port.status(handle, deadline=deadline), reason="it failed")
    """,
    "test_the_same_operation_submitted_twice_is_one_job": """
        def submit(self, spec, operation, *, deadline):
            handle = self._port.submit(spec, operation, deadline=deadline)
            self.count = getattr(self, "count", 0) + 1
            return JobHandle(f"{handle.name}-{self.count}", handle.ref)
    """,
    "test_a_name_held_by_another_operation_is_a_conflict": """
        def submit(self, spec, operation, *, deadline):
            try:
                return self._port.submit(spec, operation, deadline=deadline)
            except ResourceConflict:
                return JobHandle(operation.resource, operation.resource)
    """,
    "test_find_tells_a_submitted_job_from_none": """
        def find(self, operation, *, deadline):
            return Absent()
    """,
    "test_a_job_that_nobody_submitted_is_not_found": """
        def status(self, handle, *, deadline):
            return JobStatus(state=JobState.PENDING)
    """,
    "test_logs_come_in_order_from_any_cursor": """
        def logs(self, handle, *, after, deadline):
            page = self._port.logs(handle, after=after, deadline=deadline)
            return replace(page, lines=tuple(reversed(page.lines)))
    """,
    "test_logs_show_while_the_job_runs": """
        def logs(self, handle, *, after, deadline):
            page = self._port.logs(handle, after=after, deadline=deadline)
            return page if page.end else LogPage((), after or "0", end=False)
    """,
    "test_stop_ends_a_running_job": """
        stops = 0
        def stop(self, handle, *, deadline):
            self.stops += 1
            if self.stops > 2:  # the suite tidies up after the case
                self._port.stop(handle, deadline=deadline)
    """,
    "test_stop_leaves_a_finished_job_as_it_is": """
        stopped = False
        def stop(self, handle, *, deadline):
            self.stopped = True
        def status(self, handle, *, deadline):
            status = self._port.status(handle, deadline=deadline)
            return replace(status, state=JobState.STOPPED) if self.stopped else status
    """,
    "test_a_job_ends_at_its_longest_run_time": """
        def submit(self, spec, operation, *, deadline):
            spec = replace(spec, max_runtime=None)
            return self._port.submit(spec, operation, deadline=deadline)
    """,
    "test_hyperparameters_arrive_typed_and_as_arguments": """
        def submit(self, spec, operation, *, deadline):
            texts = {name: str(value) for name, value in spec.hyperparameters.items()}
            spec = replace(spec, hyperparameters=texts)
            return self._port.submit(spec, operation, deadline=deadline)
    """,
    "test_an_input_file_arrives_in_a_folder": """
        def submit(self, spec, operation, *, deadline):
            return self._port.submit(replace(spec, inputs={}), operation, deadline=deadline)
    """,
    "test_a_script_finds_its_own_variables": """
        def submit(self, spec, operation, *, deadline):
            return self._port.submit(replace(spec, env={}), operation, deadline=deadline)
    """,
    "test_a_script_finds_the_files_beside_it": """
        def submit(self, spec, operation, *, deadline):
            spec = replace(spec, files=(spec.script,))
            return self._port.submit(spec, operation, deadline=deadline)
    """,
    "test_a_capability_is_there_or_refused": """
        def submit(self, spec, operation, *, deadline):
            spec = replace(spec, resources=type(spec.resources)())
            return self._port.submit(spec, operation, deadline=deadline)
    """,
}
WRONG_ARTIFACTS = {
    "test_a_model_comes_back_as_it_was": """
        def fetch(self, handle, folder, *, deadline):
            manifest = self._port.fetch(handle, folder, deadline=deadline)
            (folder / "weights.bin").write_bytes(b"")
            return manifest
    """,
    "test_the_same_model_is_kept_once": """
        def put(self, folder, manifest, *, deadline):
            handle = self._port.put(folder, manifest, deadline=deadline)
            self.count = getattr(self, "count", 0) + 1
            return replace(handle, uri=f"{handle.uri}-{self.count}")
    """,
    "test_an_artifact_that_is_not_there_is_not_found": """
        def manifest(self, handle, *, deadline):
            try:
                return self._port.manifest(handle, deadline=deadline)
            except ResourceNotFound:
                raise KeyError(handle.digest)
    """,
}
WRONG_INVENTORIES = {
    "test_a_running_job_is_listed_with_its_tags": """
        def resources(self, *, deadline):
            for resource in self._port.resources(deadline=deadline):
                yield replace(resource, tags={})
    """,
    "test_a_removed_job_runs_no_more_and_may_be_removed_again": """
        def remove(self, resource, *, deadline):
            pass
    """,
}


@pytest.mark.parametrize(
    ("port", "case", "wrong"),
    [
        pytest.param(port, case, wrong, id=case)
        for port, all_wrong in {
            "trainer": WRONG_TRAINERS,
            "artifacts": WRONG_ARTIFACTS,
            "inventory": WRONG_INVENTORIES,
        }.items()
        for case, wrong in all_wrong.items()
    ],
)
def test_a_wrong_provider_fails_the_case(run_suite, install_plugin, monkeypatch, port, case, wrong):
    monkeypatch.syspath_prepend(str(install_plugin("freelane-acme")))
    body = textwrap.indent(textwrap.dedent(wrong), "    ")

    patience_s = 2.0 if case in ENDLESS else 30.0

    result = run_suite(MODULE.format(wrong=body, port=port, patience_s=patience_s), "-k", case)

    outcomes = result.parseoutcomes()
    assert outcomes.get("failed") == 1, outcomes
    assert "errors" not in outcomes, "the case left something running"
    end = "DeadlineExceeded" if case in ENDLESS else "(AssertionError|DID NOT RAISE|KeyError)"
    result.stdout.re_match_lines([rf"E\s+.*{end}.*"])


def test_a_right_provider_in_the_same_wrapping_passes(run_suite, install_plugin, monkeypatch):
    monkeypatch.syspath_prepend(str(install_plugin("freelane-acme")))
    module = MODULE.format(wrong="    pass", port="trainer", patience_s=30.0)

    result = run_suite(module, "-k", "model or find or stop or refused")

    assert set(result.parseoutcomes()) == {"passed", "skipped", "deselected"}


@pytest.mark.parametrize(("looks", "outcome"), [(True, "passed"), (False, "failed")])
def test_a_changed_copy_must_be_noticed(run_suite, looks, outcome):
    result = run_suite(
        "class TestFolder(ArtifactsConformance):\n"
        "    @pytest.fixture\n"
        "    def provider(self, tmp_path):\n"
        f"        artifacts = memory.CarelessFolderArtifacts(tmp_path / 'kept', looks={looks})\n"
        "        return memory.provider(\n"
        "            capabilities={Capability.ARTIFACTS: FULL}, artifacts=artifacts\n"
        "        )\n",
        "-k",
        "test_a_copy_that_changed_is_refused",
    )

    result.assert_outcomes(**{outcome: 1})
