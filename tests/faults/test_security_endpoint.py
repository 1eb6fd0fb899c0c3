"""What strangers send to an endpoint: it refuses, stays quick, and tells nothing of the machine."""

import http.client
import io
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

PREDICT = """
import os
def load(folder):
    return 1
def predict(model, instances):
    if instances == ["mute"]:
        os.close(2)
        raise ValueError("nobody can log this")
    if instances == ["path"]:
        open("/srv/secret place/weights.bin")
    if instances == ["print"]:
        print('HTTP/1.1 200 OK')
    return [sum(row) for row in instances]
"""
PREDICTS = "/v1/endpoints/tiny/predict"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BREW"]
PATHS = ["/ping", "/healthz", "/invocations", PREDICTS, "/docs", "/openapi.json", "/", "/nowhere"]


class Served:
    """A served model, and callers that write their requests themselves."""

    def __init__(self, port: int, token: str, process: subprocess.Popen):
        self.port = port
        self.token = token
        self.process = process

    def connect(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        sock.sendall(data)
        return sock

    def raw(self, *pieces: bytes) -> bytes:
        got = b""
        with self.connect() as sock:
            try:
                for piece in pieces:
                    sock.sendall(piece)
                while more := sock.recv(65536):
                    got += more
            except ConnectionError:
                pass  # it was answered, and need not hear the rest
        return got

    def statuses(self, *pieces: bytes) -> list[int]:
        """Of every reply on one connection, which the server has to end."""
        replies = self.raw(*pieces).split(b"HTTP/1.1 ")[1:]
        return [int(reply[:3]) for reply in replies]

    def head(self, method="POST", path=PREDICTS, **headers) -> bytes:
        given = {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")

    def predict(self, instances) -> tuple[int, dict]:
        body = json.dumps({"instances": instances}).encode()
        reply = self.raw(self.head(Content_Length=len(body)), body)
        return int(reply[9:12]), json.loads(reply.partition(b"\r\n\r\n")[2])

    def probe_s(self) -> float:
        """How long a health check takes, which has to succeed."""
        begun = time.perf_counter()
        assert self.statuses(self.head("GET", "/ping", Authorization=None)) == [200]
        return time.perf_counter() - begun


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    source, model = folder / "source", folder / "model"
    source.mkdir()
    model.mkdir()
    (source / "predict.py").write_text(PREDICT)
    spec = EndpointSpec(
        project="tiny",
        name="tiny",
        source=source,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(model)),
    )
    bundle.write(spec, folder / "work")
    token = secrets.token_urlsafe(32)
    (folder / "token").write_text(token)
    ready = folder / "ready.json"
    env = {
        "PATH": os.environ["PATH"],
        "FREELANE_MODEL_DIR": str(model),
        "FREELANE_SERVE_PORT": "0",
        "FREELANE_SERVE_TOKEN_FILE": str(folder / "token"),
        "FREELANE_SERVE_READY_FILE": str(ready),
    }
    with ExitStack() as held:
        log = held.enter_context((folder / "log").open("wb"))
        process = held.enter_context(
            subprocess.Popen(
                [sys.executable, "bootstrap.py", "serve"],
                cwd=folder / "work",
                env=env,
                stdout=log,
                stderr=log,
            )
        )
        held.callback(process.kill)
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Served(json.loads(ready.read_text())["port"], token, process)


@pytest.mark.parametrize(
    "foreign",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=lambda headers: "=".join(*headers.items()),
)
def test_a_foreign_page_is_refused_with_every_method_on_every_path(served, foreign):
    for method in METHODS:
        for path in PATHS:
            head = served.head(method, path, Content_Length=2, **foreign)
            (status,) = served.statuses(head, b"{}")
            assert status in {400, 403}, (method, path)


@pytest.mark.parametrize(
    "authorization",
    [
        None, "Bearer", "Bearer  ", "Bearer ' OR 1=1 --", "Basic eDp5", "Bearer " + "x" * 43,
        "AWS4-HMAC-SHA256 Credential=' OR '1'='1/x", "AWS4-HMAC-SHA256 Credential=/",
    ],
)  # fmt: skip
def test_only_health_is_open_without_the_token(served, authorization):
    for path in ("/invocations", PREDICTS):
        head = served.head(path=path, Authorization=authorization, Content_Length=2)
        assert served.statuses(head, b"{}") == [401]
        query = served.head(path=f"{path}?token={served.token}", Authorization=None)
        assert served.statuses(query) == [401]
    for path in ("/ping", "/healthz"):
        assert served.statuses(served.head("GET", path, Authorization=None)) == [200]


SECOND = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = {
    "length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    "a list of lengths": "Content-Length: 2, 2\r\n\r\n[]",
    "a length with a sign": "Content-Length: +2\r\n\r\n[]",
    "a negative length": "Content-Length: -2\r\n\r\n[]",
    "a length in hex": "Content-Length: 0x2\r\n\r\n[]",
    "a superscript length": "Content-Length: \xb2\r\n\r\n[]",
    "a length of no end": f"Content-Length: {'9' * 20}\r\n\r\n[]",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding after a tab stop": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": "Content-Length : 2\r\n\r\n[]",
    "a folded line": "X: a\r\n b\r\nContent-Length: 2\r\n\r\n[]",
    "a bare carriage return": "X: a\rContent-Length: 2\r\n\r\n[]",
    "a bare line feed": "X: a\nContent-Length: 2\r\n\r\n[]",
    "a NUL": "X: a\0\r\nContent-Length: 2\r\n\r\n[]",
    "two hosts": "Host: evil.example\r\nContent-Length: 2\r\n\r\n[]",
    "a chunk in hex notation": "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "a negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk past 32 bits": "Transfer-Encoding: chunked\r\n\r\n1FFFFFFFF\r\na\r\n0\r\n\r\n",
    "a chunk with a tail": "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_request_that_readers_may_split_differently_ends_the_connection(served, rest):
    head = served.head(path="/invocations", Connection="keep-alive").removesuffix(b"\r\n")
    assert served.statuses(head + rest.encode("latin-1") + SECOND.encode()) == [400]


def test_what_follows_a_health_check_as_its_body_is_no_second_request(served):
    first = f"GET /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SECOND)}\r\n\r\n"
    assert served.statuses((first + SECOND + SECOND).encode()) == [200]


def test_three_megabytes_in_chunks_of_one_byte_are_refused_quickly(served):
    head = served.head(Transfer_Encoding="chunked")
    begun = time.monotonic()
    assert served.statuses(head, b"1\r\nx\r\n" * 3_000_000) == [413]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /pi", b"GET /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"],
    ids=["silent", "half a head", "half a body"],
)
def test_strangers_who_never_finish_keep_nobody_out(served, begun):
    with ExitStack() as held:
        for _ in range(700):
            held.enter_context(served.connect(begun))
        took_s = sorted(served.probe_s() for _ in range(100))
    assert took_s[98] < 1


def test_an_error_tells_no_path_no_process_and_no_traceback(served):
    status, document = served.predict(["path"])
    message = document["error"]["message"]
    assert status == 500
    assert document["error"]["request_id"]
    for told in ("srv", "weights", "Traceback", "predict.py", str(served.process.pid)):
        assert told not in message


def test_what_a_model_prints_is_no_part_of_the_reply(served):
    status, document = served.predict(["print"])
    assert (status, document["error"]["type"]) == (500, "model_error")  # "print" has no sum


def _mutated(dice: random.Random, body: bytes) -> bytes:
    odd = [b"NaN", b"1e999", b"\\ud800", b"[" * 100, b"\xff", b"9" * 5000, b"\0", b'"', b"-"]
    mutant = bytearray(body)
    for _ in range(dice.randint(0, 3)):
        place = dice.randrange(len(mutant) + 1)
        mutant[place : place + dice.randint(0, 3)] = dice.choice(odd)
    return bytes(mutant)


def test_fuzzed_requests_meet_no_fault_of_the_server(served):
    dice = random.Random(7)
    array = io.BytesIO()
    np.save(array, np.ones((2, 2)))
    values = [
        None,
        True,
        -1,
        1e308,
        "",
        "\0",
        [],
        {},
        [[]],
        [1, 2],
        "<script>",
        "' OR 1=1--",
        10**30,
    ]
    kinds = [
        "application/json",
        "text/csv",
        "application/x-npy",
        "application/x-ndjson",
        "a/b",
        ";;",
        "",
    ]
    accepts = ["*/*", "application/json", "text/csv", "application/x-npy", "text/html", "q,,;", ""]
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    for _ in range(4000):
        instances = [dice.choice(values) for _ in range(dice.randint(0, 4))]
        asked = {"instances": instances, "parameters": dice.choice(values)}
        plain = [json.dumps(asked).encode(), b"1,2\n3,4\n", array.getvalue(), b"[[1,2],[3,4]]"]
        headers = {"Authorization": f"Bearer {served.token}"}
        headers |= {"Content-Type": dice.choice(kinds), "Accept": dice.choice(accepts)}
        method, path = dice.choice(["POST"] * 9 + METHODS), dice.choice(PATHS[:4] * 3 + PATHS)
        if method == "CONNECT":
            continue
        connection.request(method, path, _mutated(dice, dice.choice(plain)), headers)
        reply = connection.getresponse()
        text = reply.read()
        assert b"Traceback" not in text
        if reply.status >= 500:  # the model has no sum of such instances; nothing else is at fault
            assert json.loads(text)["error"]["type"] == "model_error", (method, path, headers, text)
        if reply.status == 200 and reply.getheader("Content-Type") == "application/json":
            json.loads(text, parse_constant=pytest.fail)
        if reply.will_close:
            connection.close()
    connection.close()
    served.probe_s()


def test_thousands_of_requests_leave_no_descriptor_open_and_no_memory_taken(served):
    process = psutil.Process(served.process.pid)

    def burst() -> None:
        for _ in range(300):
            served.predict([[1, 2]])
            served.statuses(served.head(Authorization=None, Content_Length=0))

    burst()
    before, rss_bytes = process.num_fds(), process.memory_info().rss
    for _ in range(5):
        burst()
    deadline = time.monotonic() + 10
    while process.num_fds() > before and time.monotonic() < deadline:
        time.sleep(0.05)  # connections that linger are ended within seconds
    assert process.num_fds() <= before
    assert process.memory_info().rss < rss_bytes * 1.1


def test_a_model_that_closed_stderr_still_gets_its_error_told(served):
    status, document = served.predict(["mute"])
    assert (status, document["error"]["type"]) == (500, "model_error")
    served.probe_s()


@pytest.mark.parametrize("token", ["", " \n", "short", "fifteen-letters"])
def test_a_blank_or_short_token_serves_nothing(tmp_path, token):
    (tmp_path / "predict.py").write_text(PREDICT)
    (tmp_path / "token").write_text(token)
    (tmp_path / "model").mkdir()
    spec = EndpointSpec(
        project="tiny",
        name="tiny",
        source=tmp_path,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(tmp_path / "model")),
    )
    bundle.write(spec, tmp_path / "work")
    env = {
        "PATH": os.environ["PATH"],
        "FREELANE_MODEL_DIR": str(tmp_path / "model"),
        "FREELANE_SERVE_PORT": "0",
        "FREELANE_SERVE_TOKEN_FILE": str(Path("..", "token")),
    }
    done = subprocess.run(
        [sys.executable, "bootstrap.py", "serve"],
        cwd=tmp_path / "work",
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "the token has to have 16 characters" in done.stderr
