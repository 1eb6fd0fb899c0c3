"""Another revision takes over behind the same address, and nobody is refused."""

import http.client
import json
import os
import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from freelane.errors import ConfigError, EndpointNotReady, ResourceNotFound
from freelane.model.endpoint import Outcome
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Verb
from freelane_local import endpoint_supervisor
from freelane_local.config import LocalDeployConfig
from freelane_local.endpoint_folder import EndpointFolder
from freelane_local.endpoint_supervisor import _Supervisor
from freelane_local.handover import Inbox, hand_over
from freelane_local.wishes import Wish

OTHER = """
    import os
    def load(folder):
        return None
    def predict(model, instances):
        if instances == ["secret"]:
            return [os.environ.get("HF_TOKEN")]
        return [-item for item in instances]
"""
BROKEN = "def load(folder): raise RuntimeError('no weights')\ndef predict(m, i): ..."
SLOW = "import time\ndef load(folder): time.sleep(60)\ndef predict(m, i): ..."


def numbers(cloud, handle):
    """The revisions that are kept."""
    return sorted(path.name for path in (cloud.folder(handle) / "revisions").iterdir())


def test_an_update_answers_at_the_same_address_with_the_same_token(cloud):
    handle = cloud.ready()
    url, token = cloud.status(handle).url, EndpointFolder(cloud.folder(handle)).token.read_text()
    operation = cloud.operation(verb=Verb.UPDATE)

    update = cloud.update(handle, OTHER, operation)

    seen = cloud.status(handle)
    assert (update.operation, update.outcome) == (operation.id, Outcome.DONE)
    assert (seen.state, seen.url, seen.serves.operation) == (
        *(EndpointState.READY, url),
        operation.id,
    )
    assert EndpointFolder(cloud.folder(handle)).token.read_text() == token
    assert cloud.predict(handle).predictions == [-2]


def test_what_served_goes_on_where_the_new_model_does_not_load(cloud):
    handle = cloud.ready()
    before = cloud.status(handle).serves

    update = cloud.update(handle, BROKEN)

    seen = cloud.status(handle)
    assert (update.outcome, seen.state) == (Outcome.FAILED, EndpointState.READY)
    assert "no weights" in update.reason
    assert "no weights" in seen.detail
    assert seen.serves == before
    assert cloud.predict(handle).predictions == [6]
    assert cloud.update(handle, OTHER).outcome is Outcome.DONE


def test_two_revisions_are_kept_and_a_rollback_goes_there_and_back(cloud, wait_until):
    handle = cloud.ready()
    for _ in range(3):
        cloud.update(handle, OTHER)
    wait_until(lambda: numbers(cloud, handle) == ["3", "4"])
    cloud.update(handle)
    wait_until(lambda: numbers(cloud, handle) == ["4", "5"])

    answers = [cloud.predict(handle).predictions]
    for _ in range(2):
        cloud.rollback(handle)
        answers.append(cloud.predict(handle).predictions)

    assert answers == [[6], [-2], [6]]


def test_nothing_to_roll_back_to_is_said(cloud):
    handle = cloud.ready()
    with pytest.raises(ResourceNotFound, match="has served nothing else"):
        cloud.rollback(handle)


def test_while_the_new_one_loads_the_old_one_answers_and_a_newer_wish_takes_over(cloud):
    handle = cloud.ready()
    slow = cloud.operation(verb=Verb.UPDATE)
    cloud.updater.update(handle, cloud.spec(SLOW), slow, deadline=cloud.deadline())

    seen = cloud.wait(handle, EndpointState.UPDATING)
    assert (seen.update.operation, seen.update.outcome) == (slow.id, Outcome.UNDER_WAY)
    assert cloud.predict(handle).predictions == [6]

    assert cloud.update(handle, OTHER).outcome is Outcome.DONE
    assert cloud.predict(handle).predictions == [-2]


def test_a_delete_ends_an_update_that_is_under_way(cloud, wait_until):
    handle = cloud.ready()
    operation = cloud.operation(verb=Verb.UPDATE)
    cloud.updater.update(handle, cloud.spec(SLOW), operation, deadline=cloud.deadline())
    cloud.wait(handle, EndpointState.UPDATING)

    cloud.delete(handle)

    assert cloud.status(handle).state is EndpointState.DELETED
    wait_until(lambda: not cloud.processes())


def test_the_new_one_gets_the_secrets_of_whoever_updates_and_no_file_does(cloud_with):
    first = cloud_with(environ={"HF_TOKEN": "the-first-secret"})
    handle = first.ready(secrets=("HF_TOKEN",))
    later = cloud_with(environ={"HF_TOKEN": "the-second-secret"})

    later.update(handle, OTHER, secrets=("HF_TOKEN",))

    assert later.predict(handle, ["secret"]).predictions == ["the-second-secret"]
    for path in first.root.rglob("*"):
        assert not path.is_file() or b"second-secret" not in path.read_bytes(), path
    first.delete(handle)


def test_secrets_that_come_while_it_looks_are_there_when_it_starts(tmp_path, monkeypatch):
    folder = EndpointFolder(tmp_path)
    supervisor, inbox = _Supervisor(folder), Inbox(folder.handover)
    supervisor._is_ready = True
    started = []

    def asked_just_now(_path):
        hand_over(folder.handover, 2, {"HF_TOKEN": "a-secret"})
        return Wish(2, "an operation")

    def start(_house, revision):
        started.append(supervisor._handed.get(revision.number))
        supervisor.ask_to_end(0, None)

    monkeypatch.setattr(endpoint_supervisor, "read_wish", asked_just_now)
    monkeypatch.setattr(supervisor, "_start", start)
    try:
        supervisor._watch(None, inbox)
    finally:
        inbox.close()

    assert started == [{"HF_TOKEN": "a-secret"}]


def test_an_endpoint_that_is_gone_is_not_updated(cloud):
    handle = cloud.ready()
    cloud.delete(handle)
    with pytest.raises(EndpointNotReady, match="nothing to update"):
        cloud.update(handle, OTHER)


def test_the_old_servers_detached_processes_end_and_the_new_ones_stay(cloud, wait_until):
    detaches = """
        import os, subprocess, sys
        def load(folder):
            words = [sys.executable, "-c", "import time; time.sleep(60)", os.environ["WHO"]]
            subprocess.Popen(words, start_new_session=True)
        def predict(model, instances):
            return instances
    """

    def running():
        return {p.cmdline()[-1] for p in cloud.processes() if "time.sleep(60)" in str(p.cmdline())}

    handle = cloud.ready(detaches, env={"WHO": "old"})
    assert running() == {"old"}
    cloud.update(handle, detaches, env={"WHO": "new"})
    wait_until(lambda: running() == {"new"})


def test_a_port_of_ones_own_choice_is_kept_and_one_in_use_is_said(cloud_with):
    port = 20_000 + os.getpid() % 10_000
    cloud = cloud_with(deploy=LocalDeployConfig(port=port, grace=timedelta(seconds=1)))
    handle = cloud.ready()
    assert cloud.status(handle).url == f"http://127.0.0.1:{port}"

    second = cloud.deploy(cloud.spec(name="second"), operation=cloud.operation(name="second"))
    reason = cloud.wait(second, EndpointState.FAILED).reason

    assert f"port {port} of [providers.local.deploy] cannot be listened on" in reason


def test_a_key_that_does_not_hold_changes_nothing(cloud_with):
    cloud = cloud_with()
    handle = cloud.ready()
    options = LocalDeployConfig(warm_up="nowhere.json")
    with pytest.raises(ConfigError, match="warm_up"):
        cloud.update(handle, OTHER, options=options)
    assert cloud.status(handle).update is None
    assert numbers(cloud, handle) == ["1"]


class Caller(threading.Thread):
    """Asks over one kept-alive connection, as long as it is let; remembers what went wrong."""

    def __init__(self, port, token, over):
        super().__init__()
        self._port, self._over = port, over
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.answers, self.failures, self.connections = [], [], 0

    def run(self):
        connection = None
        while not self._over.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
                self.connections += 1
            try:
                connection.request(
                    "POST", "/v1/endpoints/tripler/predict", b'{"instances": [2]}', self._headers
                )
                reply = connection.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection = None
                continue
            if reply.status != 200:
                self.failures.append((reply.status, body))
            else:
                self.answers.append(json.loads(body)["predictions"][0])
            if reply.will_close:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


@pytest.mark.parametrize("isolation", ["process", "none"])
def test_no_request_fails_through_several_updates(cloud_with, isolation):
    options = LocalDeployConfig(isolation=isolation, grace=timedelta(seconds=5))
    cloud = cloud_with(deploy=options)
    handle = cloud.ready()
    folder, over = EndpointFolder(cloud.folder(handle)), threading.Event()
    port = int(cloud.status(handle).url.rpartition(":")[2])
    callers = [Caller(port, folder.token.read_text(), over) for _ in range(8)]
    try:
        for caller in callers:
            caller.start()
        for script in (OTHER, cloud_script(), OTHER):
            time.sleep(0.3)
            assert cloud.update(handle, script).outcome is Outcome.DONE
        time.sleep(0.3)
        assert cloud.rollback(handle).outcome is Outcome.DONE
        time.sleep(0.3)
    finally:
        over.set()
        for caller in callers:
            caller.join()

    assert [caller.failures for caller in callers] == [[]] * len(callers)
    for caller in callers:
        assert set(caller.answers) == {6, -2}
        assert caller.connections <= 6, "a connection lasts until what serves it leaves"


@pytest.mark.parametrize("end", ["update", "delete"])
def test_what_was_accepted_for_later_has_the_same_grace(cloud_with, tmp_path, end):
    slow = """
        import time
        def load(folder):
            return None
        def predict(model, instances):
            time.sleep(2.5)
            return instances
    """
    options = LocalDeployConfig(async_folder=tmp_path / "s3", grace=timedelta(seconds=8))
    cloud = cloud_with(deploy=options)
    handle = cloud.ready(slow)
    port = int(cloud.status(handle).url.rpartition(":")[2])
    token = EndpointFolder(cloud.folder(handle)).token.read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        "POST", "/endpoints/tripler/async-invocations", b'{"instances": [2]}', headers
    )
    reply = connection.getresponse()
    connection.close()
    assert reply.status == 202
    time.sleep(0.2)

    if end == "update":
        assert cloud.update(handle, OTHER).outcome is Outcome.DONE
    else:
        cloud.delete(handle)

    written = [path for path in (tmp_path / "s3").rglob("*") if path.is_file()]
    (answer,) = written
    assert "async-endpoint-outputs" in str(answer), answer.read_text()
    assert json.loads(answer.read_text()) == {"predictions": [2]}


def test_a_delete_knows_the_grace_of_what_serves_now(cloud_with):
    slow = """
        import time
        def load(folder):
            return None
        def predict(model, instances):
            time.sleep(7)
            return instances
    """
    short = LocalDeployConfig(grace=timedelta(seconds=0.2))
    cloud = cloud_with(deploy=short)
    handle = cloud.ready()
    options = LocalDeployConfig(grace=timedelta(seconds=15))
    assert cloud.update(handle, slow, options=options).outcome is Outcome.DONE
    answers = []
    caller = threading.Thread(target=lambda: answers.append(cloud.predict(handle).predictions))
    caller.start()
    time.sleep(0.5)

    cloud.delete(handle)

    caller.join()
    assert answers == [[2]]


def cloud_script():
    """What triples, without the hooks of the fixture's."""
    return "def load(folder): return 3\ndef predict(m, i): return [m * x for x in i]"


def test_a_killed_new_server_is_started_again_before_it_takes_over(cloud, kill, wait_until):
    late = """
        import os, time
        def load(folder):
            time.sleep(1.0)
        def predict(model, instances):
            return [-item for item in instances]
    """
    handle = cloud.ready()
    operation = cloud.operation(verb=Verb.UPDATE)
    cloud.updater.update(handle, cloud.spec(late), operation, deadline=cloud.deadline())

    def coming():
        with suppress(IndexError):
            return cloud.record(handle, "status.json")["servers"][1]
        return None

    wait_until(coming)
    os.kill(coming()["pid"], 9)

    assert cloud.decided(handle).outcome is Outcome.DONE
    assert cloud.predict(handle).predictions == [-2]


def test_a_supervisor_that_is_killed_in_an_update_takes_both_servers_along(cloud, kill, wait_until):
    handle = cloud.ready()
    operation = cloud.operation(verb=Verb.UPDATE)
    cloud.updater.update(handle, cloud.spec(SLOW), operation, deadline=cloud.deadline())
    wait_until(lambda: len(cloud.record(handle, "status.json")["servers"]) == 2)

    kill(cloud.supervisor(handle))

    seen = cloud.wait(handle, EndpointState.FAILED)
    assert seen.cause is FailureCause.INTERRUPTED
    wait_until(lambda: not cloud.processes())


def test_what_a_model_detached_ends_where_its_supervisor_was_killed(cloud, kill, wait_until):
    detaches = """
        import subprocess, sys
        def load(folder):
            words = [sys.executable, "-c", "import time; time.sleep(60)"]
            subprocess.Popen(words, start_new_session=True)
        def predict(model, instances):
            return instances
    """
    handle = cloud.ready(detaches)
    server = cloud.server(handle)

    kill(cloud.supervisor(handle))
    wait_until(lambda: not server.alive())
    cloud.wait(handle, EndpointState.FAILED)

    wait_until(lambda: not cloud.processes())
