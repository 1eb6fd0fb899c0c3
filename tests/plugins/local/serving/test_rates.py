"""An endpoint's rate stands on the ledger: whoever asks, and whoever dies."""

import http.client
import json
import sys
from dataclasses import replace

import psutil
import pytest

from freelane.contract.provider import RationCommand
from freelane.errors import QuotaExceeded
from freelane.model.endpoint import RateLimits
from freelane.store.engine import open_store
from freelane_local.endpoint_folder import EndpointFolder, look

SECRET = "hunter2-is-the-password"


@pytest.fixture
def context(context, tmp_path):
    """As core hands it out: with the command that counts on the ledger."""
    words = ("-P", "-m", "freelane.runtime.ration", "--folder", str(tmp_path / "state"))
    command = RationCommand(argv=(sys.executable, *words, "--provider", "local"), env={})
    return replace(context, ration=command)


@pytest.fixture
def store(tmp_path):
    opened = open_store(None, tmp_path / "state")
    yield opened
    opened.close()


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
    found = [p for p in supervisor.children() if "freelane.runtime.ration" in p.cmdline()]
    return found[0] if found else None


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
