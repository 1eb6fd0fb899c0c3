"""An endpoint's rate stands on the ledger: whoever asks, and whoever dies."""

import http.client
import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext, RateLedger
from freelane.errors import QuotaExceeded, StateError
from freelane.model.endpoint import RateLimits
from freelane.model.lifecycle import EndpointState
from freelane.transport.http import Transport
from freelane_local.config import LocalConfig
from freelane_local.endpoint_folder import EndpointFolder, look
from freelane_local.kill_switch import LocalKillSwitch

SECRET = "hunter2-is-the-password"


@pytest.fixture
def context(context, tmp_path):
    """As core hands it out: with the ledger that counts."""
    return replace(context, rates=RateLedger(folder=tmp_path / "state"))


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
        rates=RateLedger(folder=folder / "state"),
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
    server = cloud.server(handle)

    kill(server)
    wait_until(lambda: not server.alive())

    assert ask(cloud, handle)[0] == 429


def test_an_endpoint_that_is_made_anew_goes_on_with_the_count(cloud):
    handle = cloud.ready(rate=RateLimits(per_day=2))
    assert ask(cloud, handle)[0] == 200
    cloud.delete(handle)

    again = cloud.ready(rate=RateLimits(per_day=2))

    assert [ask(cloud, again)[0] for _ in range(2)] == [200, 429]


def test_an_update_takes_another_rate_and_goes_on_with_the_count(cloud):
    handle = cloud.ready(rate=RateLimits(per_day=2))
    assert ask(cloud, handle)[0] == 200

    cloud.update(handle, rate=RateLimits(per_day=3))

    assert [ask(cloud, handle)[0] for _ in range(3)] == [200, 200, 429]


def test_an_endpoint_without_a_rate_tells_none(cloud):
    handle = cloud.ready()

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


def test_a_databases_password_stands_in_no_file_no_argument_and_not_in_the_models_variables(
    cloud_with, context
):
    url = f"postgresql://me:{SECRET}@127.0.0.1:9/none"
    ledger = replace(context.rates, env={"FREELANE_DATABASE_URL": url})
    cloud = cloud_with()
    cloud.context = replace(cloud.context, rates=ledger)
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
        for victim in (cloud.server, cloud.worker, cloud.server):
            wait_until(lambda: cloud.status(handle).state is EndpointState.READY, 20)
            time.sleep(0.3)
            kill(victim(handle))
        wait_until(lambda: 429 in statuses[-20:], 30)
    finally:
        over.set()
        for caller in callers:
            caller.join()

    assert 5 <= statuses.count(200) <= limit
    assert set(statuses) <= {200, 429, 503}
