"""An endpoint's rate stands on the ledger: whoever asks, and whoever dies."""

import http.client
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext, RationCommand
from freelane.errors import ProviderInternal, QuotaExceeded, StateError
from freelane.model.endpoint import RateLimits
from freelane.model.lifecycle import EndpointState
from freelane.transport.http import Transport
from freelane_local.config import LocalConfig
from freelane_local.endpoint_folder import EndpointFolder, look
from freelane_local.kill_switch import LocalKillSwitch
from freelane_local.ration_order import ration_order

SECRET = "hunter2-is-the-password"


def command(folder):
    words = ("-P", "-m", "freelane.runtime.ration", "--folder", str(folder))
    return RationCommand(argv=(sys.executable, *words, "--provider", "local"), env={})


@pytest.fixture
def context(context, tmp_path):
    """As core hands it out: with the command that counts on the ledger."""
    return replace(context, ration=command(tmp_path / "state"))


@pytest.fixture(scope="module")
def rated(tmp_path_factory, cloud_at):
    """One endpoint with a rate, for the tests that only ask it."""
    folder = tmp_path_factory.mktemp("rated")
    context = ProviderContext(
        name="local",
        owner="0123456789abcdef",
        emulated=False,
        clock=SystemClock(),
        folder=folder / "local",
        environ={**os.environ, "HOME": str(folder)},
        ration=command(folder / "state"),
    )
    cloud = cloud_at(folder / "local", folder / "project", context, LocalConfig(), Transport())
    handle = cloud.ready(rate=RateLimits(per_day=1000))
    yield cloud, handle
    cloud.delete(handle)
    cloud.transport.close()


def ask(cloud, handle, body=b'{"instances": [2]}', path="/v1/endpoints/tripler/predict", **headers):
    """Directly over HTTP: status, headers, body."""
    folder = EndpointFolder(cloud.folder(handle))
    port = int(look(folder).url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {
        "Authorization": f"Bearer {folder.token.read_text()}",
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    try:
        connection.request("POST", path, body, sent)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def counting(cloud, handle):
    """The process that counts the endpoint's rate."""
    supervisor = psutil.Process(cloud.supervisor(handle).pid)
    for process in supervisor.children():
        with suppress(psutil.Error):  # a killed one, until it is waited for
            if "freelane.runtime.ration" in process.cmdline():
                return process
    return None


def test_the_rate_is_one_count_for_both_ways_to_ask(cloud):
    handle = cloud.ready(rate=RateLimits(per_minute=5, per_day=100))
    answered = [ask(cloud, handle) for _ in range(3)]
    for _ in range(2):
        assert cloud.predict(handle).predictions == [6]

    status, headers, body = ask(cloud, handle)
    with pytest.raises(QuotaExceeded) as refused:
        cloud.predict(handle)

    assert [status for status, _, _ in answered] == [200, 200, 200]
    assert [h["x-ratelimit-remaining"] for _, h, _ in answered] == ["4", "3", "2"]
    assert (
        answered[0][1].items()
        >= {
            "x-ratelimit-limit": "5",
            "x-ratelimit-limit-minute": "5",
            "x-ratelimit-limit-day": "100",
            "x-ratelimit-remaining-day": "99",
        }.items()
    )
    assert status == 429
    assert 50 <= int(headers["retry-after"]) <= 60
    assert (
        headers.items()
        >= {
            "x-ratelimit-limit": "5",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-remaining-minute": "0",
            "x-ratelimit-remaining-day": "95",
        }.items()
    )
    error = json.loads(body)["error"]
    key = "local/rate.minute@0123456789abcdef/tripler"
    assert (error["quota_id"], error["limit"]) == (key, 5)
    assert error["window"] == "60 s, sliding"
    assert (refused.value.quota_id, refused.value.limit, refused.value.exit_code) == (key, 5, 4)
    assert 50 <= refused.value.retry_after_s <= 60


def test_two_endpoints_do_not_share_a_rate(cloud):
    first = cloud.ready(rate=RateLimits(per_minute=1))
    operation = cloud.operation(name="doubler")
    second = cloud.deploy(
        cloud.spec(name="doubler", rate=RateLimits(per_minute=1)), operation=operation
    )
    cloud.wait(second, EndpointState.READY)

    assert ask(cloud, first)[0] == 200
    assert ask(cloud, second, path="/v1/endpoints/doubler/predict")[0] == 200
    assert ask(cloud, first)[0] == 429


def test_a_killed_server_starts_no_new_count(cloud, kill, wait_until):
    handle = cloud.ready(rate=RateLimits(per_minute=3))
    assert [ask(cloud, handle)[0] for _ in range(4)] == [200, 200, 200, 429]
    counter = counting(cloud, handle)
    worker = cloud.worker(handle)

    kill(worker)
    wait_until(lambda: cloud.status(handle).url and cloud.worker(handle) != worker)

    assert ask(cloud, handle)[0] == 429
    assert counting(cloud, handle) == counter, "what counts lives on"


def test_an_endpoint_that_is_made_anew_goes_on_with_the_count(cloud):
    handle = cloud.ready(rate=RateLimits(per_day=2))
    assert ask(cloud, handle)[0] == 200
    cloud.delete(handle)

    again = cloud.ready(rate=RateLimits(per_day=2))

    assert [ask(cloud, again)[0] for _ in range(2)] == [200, 429]


def test_what_counts_is_started_again_when_it_is_killed(cloud, kill, wait_until):
    handle = cloud.ready(rate=RateLimits(per_day=100))
    assert ask(cloud, handle)[0] == 200
    counter = counting(cloud, handle)

    kill(counter)
    wait_until(lambda: (now := counting(cloud, handle)) and now != counter)
    wait_until(lambda: ask(cloud, handle)[0] == 200)

    status, headers, _ = ask(cloud, handle)
    assert status == 200
    assert int(headers["x-ratelimit-remaining"]) <= 97
    assert "what counts the rate ended; starting it again" in cloud.printed(handle)


def test_nothing_is_answered_while_what_counts_hangs(cloud):
    handle = cloud.ready(rate=RateLimits(per_day=100))
    assert ask(cloud, handle)[0] == 200
    counter = counting(cloud, handle)
    counter.suspend()
    try:
        time.sleep(1.1)  # what was granted may be used until its time is over
        status, headers, body = ask(cloud, handle)
        with pytest.raises(ProviderInternal) as unavailable:
            cloud.predict(handle)
    finally:
        counter.resume()

    assert status == 503
    assert headers["retry-after"] == "1"
    assert json.loads(body)["error"]["type"] == "unavailable"
    assert unavailable.value.retryable


def test_what_counts_ends_with_the_endpoint_and_with_its_supervisor(cloud, kill, wait_until):
    deleted = cloud.ready(rate=RateLimits(per_day=100))
    counter = counting(cloud, deleted)
    cloud.delete(deleted)
    assert not counter.is_running()

    orphaned = cloud.ready(rate=RateLimits(per_day=100))
    counter = counting(cloud, orphaned)
    kill(cloud.supervisor(orphaned))
    wait_until(lambda: not counter.is_running())


def test_an_endpoint_without_a_rate_starts_nothing_that_counts(cloud):
    handle = cloud.ready()

    assert counting(cloud, handle) is None
    assert not any(name.startswith("x-ratelimit") for name in ask(cloud, handle)[1])


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/endpoints/tripler/predict", b"{", {}, 400),
        ("/v1/endpoints/tripler/predict", b'{"rows": []}', {}, 422),
        ("/v1/endpoints/tripler/predict", b"1,2", {"Content_Type": "text/csv"}, 415),
        ("/v1/endpoints/tripler/predict", b"{}", {"Authorization": "Bearer another"}, 401),
        ("/v1/endpoints/other/predict", b'{"instances": [2]}', {}, 404),
        ("/invocations", b"{", {}, 400),
        ("/invocations", b"x", {"Content_Type": "image/png"}, 415),
    ],
)
def test_what_never_comes_to_the_model_is_not_charged(rated, path, body, headers, status):
    cloud, handle = rated
    before = int(ask(cloud, handle)[1]["x-ratelimit-remaining"])

    assert ask(cloud, handle, body, path, **headers)[0] == status

    assert int(ask(cloud, handle)[1]["x-ratelimit-remaining"]) == before - 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/endpoints/tripler/predict", {}, 500),
        ("/invocations", {}, 500),
    ],
)
def test_what_the_model_fails_at_is_charged(rated, path, headers, status):
    cloud, handle = rated
    before = int(ask(cloud, handle)[1]["x-ratelimit-remaining"])

    found, told, _ = ask(cloud, handle, b'{"instances": ["raise"]}', path, **headers)

    assert (found, int(told["x-ratelimit-remaining"])) == (status, before - 1)


def test_a_streamed_answer_says_what_is_left(rated):
    cloud, handle = rated
    status, headers, body = ask(cloud, handle, Accept="application/x-ndjson")

    assert (status, json.loads(body)) == (200, {"prediction": 6})
    assert int(headers["x-ratelimit-remaining"]) > 0


def test_the_order_keeps_the_names_of_variables_alone():
    command = RationCommand(argv=("count",), env={"FREELANE_DATABASE_URL": SECRET})
    order = ration_order(command, subject="o/e", rate=RateLimits(per_minute=5, per_month=7))

    assert order == {
        "argv": ["count", "--subject", "o/e", "--minute", "5", "--month", "7"],
        "variables": ["FREELANE_DATABASE_URL"],
    }
    assert SECRET not in repr(command)
    assert ration_order(command, subject="o/e", rate=RateLimits()) is None
    assert ration_order(None, subject="o/e", rate=RateLimits(per_day=1)) is None


def test_a_databases_password_stands_in_no_file_no_argument_and_not_in_the_servers_variables(
    cloud_with, context
):
    url = f"postgresql://me:{SECRET}@127.0.0.1:9/none"
    command = replace(context.ration, env={"FREELANE_DATABASE_URL": url})
    cloud = cloud_with()
    cloud.context = replace(cloud.context, ration=command)
    cloud.__post_init__()
    handle = cloud.ready(rate=RateLimits(per_minute=5))

    assert ask(cloud, handle)[0] == 503

    variables = psutil.Process(cloud.worker(handle).pid).environ()
    assert SECRET not in str(variables)
    for process in cloud.processes():
        assert SECRET not in " ".join(process.cmdline())
    cloud.delete(handle)
    for path in cloud.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_the_inventory_tells_when_an_endpoint_was_last_used(cloud, wait_until):
    def listed():
        return next(cloud.deployer.resources(deadline=cloud.deadline()))

    handle = cloud.ready()
    fresh = listed()
    began = time.time()
    cloud.predict(handle)

    wait_until(lambda: listed().last_used)

    assert fresh.last_used is None
    assert abs(listed().last_used.timestamp() - began) < 5
    assert (listed().billing, listed().costs) == (False, ())


def test_a_refused_request_is_no_use(cloud, wait_until):
    handle = cloud.ready(rate=RateLimits(per_minute=1))
    assert ask(cloud, handle)[0] == 200
    used = EndpointFolder(cloud.folder(handle)).used
    wait_until(used.exists)  # written after the answer, so that no caller waits for it
    before = used.stat().st_mtime_ns
    time.sleep(1.1)

    assert ask(cloud, handle)[0] == 429

    assert used.stat().st_mtime_ns == before


def test_the_inventory_shows_the_expiry_that_a_switch_has_set(cloud):
    operation = cloud.operation(expires=datetime.now(UTC) + timedelta(hours=1))
    cloud.wait(cloud.deploy(operation=operation), EndpointState.READY)
    at = datetime.now(UTC) + timedelta(hours=3)
    LocalKillSwitch(cloud.root).arm(operation, at, deadline=cloud.deadline())

    found = next(cloud.deployer.resources(deadline=cloud.deadline()))

    assert found.tags["freelane-expires"] == str(int(at.timestamp()))


def test_no_kill_lets_more_through_than_the_limit(cloud, kill, wait_until):
    """Callers count for themselves what they were answered, whoever dies meanwhile."""
    limit, over = 60, threading.Event()
    handle = cloud.ready(rate=RateLimits(per_hour=limit))
    statuses = []

    def call():
        while not over.is_set():
            # The server is gone, or its address is, or it died before it had answered.
            with suppress(OSError, http.client.HTTPException, AttributeError, StateError):
                statuses.append(ask(cloud, handle)[0])

    callers = [threading.Thread(target=call) for _ in range(3)]
    try:
        for caller in callers:
            caller.start()
        for victim in (cloud.worker, counting_now(cloud), cloud.worker, counting_now(cloud)):
            wait_until(lambda: cloud.status(handle).url, 20)
            time.sleep(0.3)
            kill(victim(handle))
        wait_until(lambda: 429 in statuses[-20:], 30)
    finally:
        over.set()
        for caller in callers:
            caller.join()

    assert 5 <= statuses.count(200) <= limit
    assert set(statuses) <= {200, 429, 503}


def counting_now(cloud):
    """Waits until something counts."""

    def find(handle):
        give_up = time.monotonic() + 10
        while (process := counting(cloud, handle)) is None:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        return process

    return find
