import os
from pathlib import Path

import pytest

from freelane.model.operation import ResourceKind
from freelane_local.config import LocalConfig
from freelane_local.inventory import ABANDONED, LocalInventory


class NoEndpoints:
    def resources(self, *, deadline):
        return iter(())

    def delete(self, handle, *, deadline):
        raise AssertionError(handle)


@pytest.fixture
def inventory(lane, context, root):
    return LocalInventory(root, context, trainer=lane.trainer, deployer=NoEndpoints())


def listed(inventory, lane):
    return list(inventory.resources(deadline=lane.deadline()))


def test_nothing_is_listed_before_anything_was_made(inventory, lane):
    assert listed(inventory, lane) == []


def test_jobs_and_artifacts_are_listed_and_none_bills(inventory, lane, context):
    operation = lane.operation()
    lane.wait(
        lane.submit(
            "import os; open(os.environ['FREELANE_MODEL_DIR'] + '/m', 'w').write('x')", operation
        )
    )
    job, artifact = listed(inventory, lane)
    assert (job.kind, job.name, job.state) == (ResourceKind.JOB, operation.resource, "SUCCEEDED")
    assert job.tags == operation.tags()
    assert artifact.kind is ResourceKind.ARTIFACT
    assert {job.owner, artifact.owner} == {context.owner}
    assert not any(resource.billing for resource in (job, artifact))


def test_removing_a_running_job_ends_it_and_keeps_its_log(inventory, lane):
    handle = lane.submit("import time; time.sleep(60)")
    [job] = listed(inventory, lane)
    inventory.remove(job, deadline=lane.deadline())
    assert lane.status(handle).state == "STOPPED"


def test_removing_what_has_ended_deletes_it_and_twice_is_no_error(inventory, lane):
    lane.run("import os; open(os.environ['FREELANE_MODEL_DIR'] + '/m', 'w').write('x')")
    for resource in listed(inventory, lane) * 2:
        inventory.remove(resource, deadline=lane.deadline())
    assert listed(inventory, lane) == []
    assert not list((lane.root / "jobs").iterdir())
    assert not list((lane.root / "artifacts").iterdir())


def test_a_job_with_a_damaged_record_is_listed_and_can_be_removed(inventory, lane):
    handle = lane.submit("import time; time.sleep(60)")
    lane.wait(handle, lambda status: status.state == "RUNNING")
    (lane.folder(handle) / "status.json").write_text("{")
    [job] = listed(inventory, lane)
    assert job.state == "UNRECOGNISED"
    inventory.remove(job, deadline=lane.deadline())
    assert listed(inventory, lane) == []


def test_what_a_killed_submission_left_is_listed_and_removed(inventory, lane, monkeypatch):
    spec = lane.spec("pass")
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(Path, "rename", lambda *_: os._exit(9))
        lane.submit(spec)
        os._exit(0)
    os.waitpid(pid, 0)
    [left] = listed(inventory, lane)
    assert left.state == ABANDONED
    inventory.remove(left, deadline=lane.deadline())
    assert not list((lane.root / "jobs").iterdir())


def test_doctor_says_what_this_machine_has(context, deadline):
    from freelane_local.checks import checks  # noqa: PLC0415 - the lazy path of the declaration

    found = {
        check.subject: check for check in checks(LocalConfig(), context).run(deadline=deadline)
    }
    assert list(found) == ["python", "folder", "disk", "gpu", "frameworks", "sqlite"]
    assert found["folder"].outcome == "ok"


def test_doctor_names_the_remedy_for_a_full_disk(context, deadline):
    from freelane_local.checks import checks  # noqa: PLC0415 - the lazy path of the declaration

    config = LocalConfig(min_free_disk="900TiB")
    found = {check.subject: check for check in checks(config, context).run(deadline=deadline)}
    assert found["disk"].outcome == "failed"
    assert "set folder" in found["disk"].remedy
