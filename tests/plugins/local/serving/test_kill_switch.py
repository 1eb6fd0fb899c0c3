"""A kill switch ends what it was armed for, whoever died and whatever became of the clocks."""

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from freelane.clock import SystemClock
from freelane.errors import DeadlineExceeded, StateError
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import TAG_OPERATION
from freelane.runtime.supervise import ProcessId
from freelane.waiting import Deadline
from freelane_local.endpoint_folder import EndpointFolder, look
from freelane_local.kill_switch import LocalKillSwitch
from freelane_local.timer import Timer, expiry, read_switch, switch_of


@pytest.fixture
def switch(root):
    return LocalKillSwitch(root)


def after(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def armed(cloud, switch, deadline):
    """An operation, its folder (of an endpoint that nobody made), and the switch armed for it."""
    operation = cloud.operation()
    folder = cloud.root / "endpoints" / operation.resource
    spec = {"tags": {TAG_OPERATION: operation.id}}

    def arm(seconds, *, spec_expires=None):
        switch.arm(operation, after(seconds), deadline=deadline)
        return Timer(folder, {**spec, "expires_at": spec_expires})

    return operation, folder, arm


def test_a_switch_takes_the_place_of_the_expiry(armed):
    _, _folder, arm = armed
    timer = arm(100, spec_expires=time.time() + 5)

    assert 90 < timer.left_s <= 100
    assert not timer.is_over()


def test_a_switch_that_is_taken_away_leaves_the_expiry(armed, switch, deadline):
    operation, _, arm = armed
    expires_at = time.time() + 5
    timer = arm(100, spec_expires=expires_at)

    switch.disarm(operation, deadline=deadline)

    assert timer.follow()
    assert timer.expires_at == expires_at


def test_a_supervisor_sees_a_switch_move_both_ways(armed):
    _, _, arm = armed
    timer = arm(100)
    arm(500)
    timer.follow()
    assert 400 < timer.left_s <= 500
    arm(0)
    assert timer.is_over()


@pytest.mark.parametrize(
    ("wall_s", "passed_s", "over"),
    [(0, 50, False), (101, 101, True), (-86_400, 101, True), (86_400, 10, True)],
)
def test_a_clock_that_is_set_back_prolongs_no_switch(armed, monkeypatch, wall_s, passed_s, over):
    _, _folder, arm = armed
    now, began = time.time(), time.monotonic()
    timer = arm(100)
    monkeypatch.setattr(time, "time", lambda: now + wall_s)
    monkeypatch.setattr(time, "monotonic", lambda: began + passed_s)

    assert timer.is_over() is over


def test_a_clock_that_was_set_back_before_the_supervisor_looked_prolongs_nothing(
    armed, monkeypatch
):
    operation, folder, arm = armed
    now, began = time.time(), time.monotonic()
    arm(100)
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    monkeypatch.setattr(time, "monotonic", lambda: began + 101)
    spec = {"tags": {TAG_OPERATION: operation.id}}

    assert Timer(folder, spec).is_over()
    assert expiry(folder, spec) <= time.time()


def test_a_switch_of_another_operation_ends_nothing(armed):
    _, folder, arm = armed
    arm(-5)

    assert not Timer(folder, {"tags": {TAG_OPERATION: "another"}}).is_over()


def test_a_damaged_switch_keeps_the_moment_that_was_read_before(armed):
    _, folder, arm = armed
    timer = arm(100)
    switch_of(folder).write_text("{")

    assert 90 < timer.left_s <= 100
    assert not timer.is_over()
    with pytest.raises(StateError, match="damaged"):
        expiry(folder, {})


def test_a_switch_says_its_moment_or_is_damaged(armed):
    _, folder, arm = armed
    arm(100)
    switch_of(folder).write_text("{}")

    with pytest.raises(StateError, match="says no moment"):
        read_switch(switch_of(folder))


def test_an_armed_switch_is_readable_for_its_user_alone(armed):
    _, folder, arm = armed
    arm(100)

    assert switch_of(folder).stat().st_mode & 0o077 == 0
    assert switch_of(folder).parent.stat().st_mode & 0o077 == 0


def test_switches_of_days_ago_are_forgotten(armed, switch, cloud, deadline):
    _, folder, arm = armed
    arm(-8 * 86_400)
    old = switch_of(folder)
    os.utime(old, (time.time() - 8 * 86_400,) * 2)

    switch.arm(cloud.operation(), after(5), deadline=deadline)

    assert not old.exists()


def test_no_switch_is_armed_after_the_deadline(switch, cloud):
    late = Deadline(SystemClock(), 0)
    with pytest.raises(DeadlineExceeded):
        switch.arm(cloud.operation(), after(5), deadline=late)
    with pytest.raises(DeadlineExceeded):
        switch.disarm(cloud.operation(), deadline=late)


def test_a_moved_switch_is_told_to_the_server_and_shown(cloud, switch, deadline, wait_until):
    """The server has a timer of its own, which must not end it at the time that was moved."""
    operation = cloud.operation()
    switch.arm(operation, after(3), deadline=deadline)
    handle = cloud.deploy(operation=operation)
    cloud.wait(handle, EndpointState.READY)
    worker = cloud.server(handle)
    later = after(60)
    switch.arm(operation, later, deadline=deadline)
    time.sleep(3.2)

    status = cloud.status(handle)

    assert status.state is EndpointState.READY
    assert abs((status.expires_at - later).total_seconds()) < 1
    assert worker.alive()
    assert cloud.predict(handle).predictions == [6]
    switch.arm(operation, after(0), deadline=deadline)
    wait_until(lambda: not worker.alive())
    cloud.wait(handle, EndpointState.DELETED)
    assert not switch_of(cloud.folder(handle)).exists()


def test_what_a_killed_supervisor_left_ends_at_its_time(cloud, switch, deadline, kill, wait_until):
    operation = cloud.operation()
    switch.arm(operation, after(60), deadline=deadline)
    handle = cloud.deploy(operation=operation)
    cloud.wait(handle, EndpointState.READY)
    worker = cloud.server(handle)

    kill(cloud.supervisor(handle))
    wait_until(lambda: not worker.alive())
    wait_until(lambda: cloud.status(handle).state is EndpointState.FAILED)
    switch.arm(operation, after(0), deadline=deadline)

    assert look(EndpointFolder(cloud.folder(handle))).state is EndpointState.DELETED
    cloud.wait(handle, EndpointState.DELETED)
    assert not (cloud.folder(handle) / "token").exists()


def test_a_hung_server_that_a_killed_supervisor_left_is_ended_by_a_listing(cloud, kill, wait_until):
    handle = cloud.ready()
    worker, supervisor = cloud.server(handle), cloud.supervisor(handle)
    os.kill(worker.pid, signal.SIGSTOP)  # as a model that never lets go of the interpreter

    kill(supervisor)
    wait_until(lambda: not supervisor.alive())
    listed = list(cloud.deployer.resources(deadline=cloud.deadline()))

    assert [resource.state for resource in listed] == [EndpointState.FAILED]
    assert not worker.alive()


def test_a_job_ends_at_its_switch(lane, switch, deadline):
    operation = lane.operation()
    switch.arm(operation, after(2), deadline=deadline)
    handle = lane.submit("import time; time.sleep(600)", operation)

    status = lane.wait(handle)

    assert (status.state, status.reason) == ("STOPPED", "its kill switch ended it")
    process = json.loads((lane.folder(handle) / "process.json").read_text())
    assert not ProcessId.from_json(process).alive()
