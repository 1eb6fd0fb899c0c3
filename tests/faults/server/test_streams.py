"""Answers that come piece by piece, from models and to callers that do not behave."""

import json
import os
import time

import pytest

PREDICT = """
import os, time
def load(folder):
    return 1
def predict(model, instances):
    what = instances[0]
    yield os.getpid()
    if what == "endless":
        while True:
            yield "x" * 1000
    elif what == "raise":
        raise ValueError("at '/srv/secret place/a.bin'")
    elif what == "hang":
        time.sleep(60)
    elif what == "leave":
        os._exit(1)
    elif what == "nan":
        yield float("nan")
    elif what == "deaf":
        try:
            while True:
                yield "y" * 1000
        finally:
            time.sleep(60)
"""
AGAIN_S = 10.0


@pytest.fixture(scope="module")
def served(serve):
    return serve(PREDICT, timeout_s=1.0)


def asking(served, what) -> bytes:
    body = json.dumps({"instances": [what]}).encode()
    return served.head(Content_Length=len(body), Accept="application/x-ndjson") + body


def lines(served, what):
    """Status and lines of a whole stream."""
    with served.caller() as caller:
        body = json.dumps({"instances": [what]}).encode()
        path = "/v1/endpoints/tiny/predict"
        status, _, got = caller.ask("POST", path, body, Accept="application/x-ndjson")
    return status, [json.loads(line) for line in got.splitlines()]


@pytest.fixture(autouse=True)
def answers_again(served):
    """Whatever became of a stream, the next one is whole."""
    yield
    deadline = time.monotonic() + AGAIN_S
    while (found := lines(served, "nothing"))[0] in {503, 504} and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found[0] == 200, served.log
    assert len(found[1]) == 1


@pytest.mark.parametrize("what", ["endless", "deaf"])
def test_a_caller_who_hangs_up_ends_the_model_s_work(served, what):
    with served.connect(asking(served, what)) as sock:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    begun = time.monotonic()
    while lines(served, "nothing")[0] != 200:
        assert time.monotonic() - begun < AGAIN_S
        time.sleep(0.02)


def test_a_caller_who_does_not_read_takes_no_memory(served):
    import psutil  # noqa: PLC0415 - of this test alone

    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    with served.connect(asking(served, "endless")) as sock:
        sock.recv(10)
        time.sleep(1.0)
        assert process.memory_info().rss < before + 32 * 2**20


@pytest.mark.parametrize(
    ("what", "kind"), [("raise", "model_error"), ("nan", "model_error"), ("leave", "unavailable")]
)
def test_what_fails_in_the_midst_is_the_last_line_and_tells_no_path(served, what, kind):
    status, found = lines(served, what)
    assert status == 200
    assert set(found[0]) == {"prediction"}
    assert found[-1]["error"]["type"] == kind
    assert "secret" not in json.dumps(found)


def test_a_stream_that_stands_still_is_ended_in_time(served):
    begun = time.monotonic()
    status, found = lines(served, "hang")
    assert (status, found[-1]["error"]["type"]) == (200, "timeout")
    assert time.monotonic() - begun < 1.0 + AGAIN_S


def test_an_endless_stream_ends_in_time_too(served):
    status, found = lines(served, "endless")
    assert (status, found[-1]["error"]["type"]) == (200, "timeout")


def test_a_stream_needs_the_token_too(served):
    head = served.head(Authorization=None, Accept="application/x-ndjson", Content_Length=2)
    assert served.statuses(head, b"{}") == [401]
    assert os.getpid() not in lines(served, "nothing")[1][0].values()
