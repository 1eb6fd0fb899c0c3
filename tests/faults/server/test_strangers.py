"""What strangers send to a local endpoint: it refuses, stays quick, and tells nothing."""

import io
import json
import os
import pickle
import re
import socket
import time
from urllib.parse import quote

import numpy as np
import pytest

PREDICT = """
def load(folder):
    return 1
def predict(model, instances, parameters=None):
    return instances
def generate(model, messages, parameters):
    yield from messages[-1]["content"].split(" ")
def embed(model, texts):
    return [[1.0, 2.0] for _ in texts]
"""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BREW"]
OPEN = {"/ping", "/healthz", "/readyz", "/docs", "/openapi.json"}


@pytest.fixture(scope="module")
def served(serve):
    return serve(PREDICT, max_batch_size=8)


@pytest.fixture(scope="module")
def operations(served):
    """Method, path with its places open, and what is told of it, of every documented route."""
    with served.caller() as caller:
        document = json.loads(caller.ask("GET", "/openapi.json", Authorization=None)[2])
    return [
        (method.upper(), path, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]


def filled(path, value="tiny"):
    return re.sub(r"\{\w+\}", lambda _: value, path)


def placed(operations):
    """Each path with a place left open in turn."""
    for method, path, told in operations:
        for place in re.findall(r"\{\w+\}", path):
            yield method, filled(path.replace(place, "\0")), told


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
def test_a_foreign_page_is_refused_with_every_method_on_every_path(served, operations, foreign):
    paths = {filled(path) for _, path, _ in operations} | {"/", "/nowhere", "*"}
    for path in paths:
        for method in METHODS:
            head = served.head(method, path, Content_Length=2, **foreign)
            statuses = served.statuses(head, b"{}")
            assert statuses in ([400], [403]), (method, path)


def test_every_route_but_health_and_the_documentation_needs_the_token(served, operations):
    wrong = [
        None, "Bearer", "Bearer  ", "Bearer ' OR 1=1 --", "Basic eDp5", "Bearer " + "x" * 43,
        "AWS4-HMAC-SHA256 Credential=' OR '1'='1/x", "AWS4-HMAC-SHA256 Credential=/",
    ]  # fmt: skip
    asked = {(method, filled(path)) for method, path, _ in operations}
    assert {path for _, path in asked} > OPEN
    with served.caller() as caller:
        for method, path in asked:
            for authorization in wrong:
                status, headers, body = caller.ask(method, path, Authorization=authorization)
                if path in OPEN or re.fullmatch(r"/v2(/health/(live|ready))?", path):
                    assert status == 200, (method, path, body)
                    continue
                assert status == 401, (method, path, authorization)
                assert headers["www-authenticate"] == "Bearer"
                if authorization is not None:
                    assert authorization.split()[-1] not in body.decode() or len(authorization) < 9


def test_a_token_in_the_query_opens_nothing_and_is_not_logged(served, operations):
    with served.caller() as caller:
        for method, path, _ in operations:
            if path not in OPEN and not path.startswith("/v2"):
                asked = f"{filled(path)}?key={served.token}&token={served.token}"
                status, headers, _ = caller.ask(method, asked, Authorization=None)
                assert status == 401, path
    log = served.folder / "access.log"
    until = time.monotonic() + 5
    while not (log.exists() and headers["x-request-id"] in log.read_text()):
        assert time.monotonic() < until, "the last of them is not in the log"
        time.sleep(0.02)
    assert served.token not in served.log + log.read_text()


def test_every_example_of_the_documentation_is_answered_as_it_says(served, operations):
    with served.caller() as caller:
        for method, path, told in operations:
            named = {one["name"]: one.get("example") for one in told.get("parameters", [])}
            asked = re.sub(r"\{(\w+)\}", lambda match, named=named: str(named[match[1]]), path)
            bodies = told.get("requestBody", {}).get("content", {"": {"example": None}})
            for kind, media in bodies.items():
                example = media["example"]
                body = example if isinstance(example, str | None) else json.dumps(example)
                status, _, reply = caller.ask(method, asked, body, Content_Type=kind or None)
                if "async" in path:
                    assert status == 400, reply  # its input comes by a header
                else:
                    expected = "200" if "200" in told["responses"] else "501"
                    assert str(status) == expected, (path, kind, reply)


TRAVERSALS = [
    "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd", "..\\..\\etc\\passwd", "..%5c..%5cetc%5cpasswd",
    "....//....//etc/passwd", "..;/..;/etc/passwd", "%c0%ae%c0%ae/etc/passwd", "%2fetc%2fpasswd",
    "file:///etc/passwd", "tiny%00.json", "..%u2215etc", "~root", "$HOME", "{{7*7}}", "${7*7}", ".",
    "..", "%2e%2e", "tiny/../tiny", "\xff\xfe", "a" * 3000,
]  # fmt: skip


def test_no_name_in_a_path_leads_to_a_file(served, operations):
    for method, path, _ in placed(operations):
        for payload in TRAVERSALS:
            asked = path.replace("\0", payload)
            reply = served.raw(served.head(method, asked, Content_Length=2), b"{}")
            assert re.match(rb"HTTP/1\.1 (200|4\d\d|501) ", reply), (method, asked, reply[:300])
            assert b"root:" not in reply


LOCATIONS = [
    "s3://../etc/passwd", "s3://b/../../../../etc/passwd", "s3://b/%2e%2e/%2e%2e/etc/passwd",
    "file:///etc/passwd", "/etc/passwd", "s3:///etc/passwd", "s3://b//etc/passwd", "s3://b/",
    "http://169.254.169.254/latest/meta-data", "s3://b\\..\\..\\etc\\passwd", "s3://", "x",
    "s3://b/link/passwd", "s3://b/fifo",
]  # fmt: skip


def test_an_asynchronous_input_is_read_below_its_folder_only(served):
    bucket = served.folder / "store" / "b"
    bucket.mkdir()
    (bucket / "link").symlink_to("/etc")
    os.mkfifo(bucket / "fifo")
    path = "/endpoints/tiny/async-invocations"
    with served.caller() as caller:
        for location in LOCATIONS:
            headers = {"X_Amzn_SageMaker_InputLocation": location}
            begun = time.perf_counter()
            status, _, body = caller.ask("POST", path, b"", **headers)
            assert 400 <= status < 500, (location, status, body)
            assert time.perf_counter() - begun < 1.0
    found = [file for file in bucket.rglob("*") if file.is_file() and file.parent == bucket]
    assert [file for file in found if b"root:" in file.read_bytes()] == []


def _deep(pair: str, depth: int) -> bytes:
    return (pair[: len(pair) // 2] * depth + pair[len(pair) // 2 :] * depth).encode()


HOSTILE = {
    "nothing": b"",
    "blanks": b"  \n ",
    "a NUL": b"\0",
    "half of it": b'{"instances": [[1, 2',
    "a bare word": b"nonsense",
    "NaN": b'{"instances": [NaN]}',
    "Infinity": b'{"instances": [-Infinity]}',
    "beyond a double": b'{"instances": [1e999]}',
    "5,000 digits": b'{"instances": [' + b"9" * 5000 + b"]}",
    "half a surrogate": b'{"instances": ["\\ud800"]}',
    "bad UTF-8": b'{"instances": ["\xff\xfe"]}',
    "a byte order mark": b'\xef\xbb\xbf{"instances": [1]}',
    "UTF-16": '{"instances": [1]}'.encode("utf-16"),
    "65 deep lists": b'{"instances": ' + _deep("[]", 65) + b"}",
    "10,000 deep lists": _deep("[]", 10_000),
    "deep objects": b'{"a":' * 10_000,
    "a bomb of commas": b"[" + b"," * 10_000 + b"]",
    "two documents": b'{"instances": [1]}{"instances": [2]}',
    "null": b"null",
    "a string": b'"instances"',
    "a number": b"1",
    "wrong types": b'{"instances": {}, "inputs": 1, "contents": "x", "messages": {}, "prompt": []}',
    "types within": b'{"instances": 1, "inputs": [1], "contents": [1], "messages": [1],'
    b' "input": [{}], "requests": [1]}',
    "nulls": b'{"instances": null, "inputs": null, "contents": null, "messages": null,'
    b' "prompt": null, "input": null, "requests": null, "content": null}',
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system"
    b"\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
    "a prototype": b'{"__proto__": {"instances": [1]}, "constructor": {"prototype": 1}}',
}


def _posts(operations):
    return [
        (path, told)
        for method, path, told in operations
        if method == "POST" and "json" in "".join(told.get("requestBody", {}).get("content", {}))
    ]


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_refused_on_every_route_and_quickly(served, operations, body):
    with served.caller() as caller:
        for path, told in _posts(operations):
            begun = time.perf_counter()
            status, headers, reply = caller.ask("POST", filled(path), body)
            assert time.perf_counter() - begun < 1.0, path
            assert 400 <= status < 500 or status == 501, (path, status, reply[:300])
            assert headers["content-type"].startswith("application/json"), path
            assert headers["x-request-id"]
            text = reply.decode()
            assert not re.search(r"Traceback|File \"|/work|/tmp|site-packages|0x[0-9a-f]{6}", text)
            schema = told["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"]
            assert _is_of(schema.rpartition("/")[2], json.loads(reply)), (path, reply)


def _is_of(schema: str, document) -> bool:
    error = document.get("error")
    return {
        "Problem": lambda: isinstance(error["message"], str) and error["type"],
        "OpenAIProblem": lambda: isinstance(error["message"], str) and error["type"],
        "GoogleProblem": lambda: isinstance(error["code"], int) and error["status"],
        "OipProblem": lambda: isinstance(error, str),
        "SageMakerProblem": lambda: isinstance(
            document.get("message", document.get("Message")), str
        ),
    }[schema]()


def test_a_body_beyond_ten_megabytes_is_refused_before_it_is_read(served, operations):
    for path, _ in _posts(operations):
        head = served.head(path=filled(path), Content_Length=11 * 2**20)
        assert served.statuses(head) in ([413], [400]), path  # some protocols know 400 only


SECOND = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = {
    "length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    "a list of lengths": "Content-Length: 2, 2\r\n\r\n[]",
    "a length with a sign": "Content-Length: +2\r\n\r\n[]",
    "a length of no end": f"Content-Length: {'9' * 20}\r\n\r\n[]",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a blank before the colon": "Content-Length : 2\r\n\r\n[]",
    "a folded line": "X: a\r\n b\r\nContent-Length: 2\r\n\r\n[]",
    "a bare carriage return": "X: a\rContent-Length: 2\r\n\r\n[]",
    "a bare line feed": "X: a\nContent-Length: 2\r\n\r\n[]",
    "a NUL": "X: a\0\r\nContent-Length: 2\r\n\r\n[]",
    "two hosts": "Host: evil.example\r\nContent-Length: 2\r\n\r\n[]",
    "a negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk past 32 bits": "Transfer-Encoding: chunked\r\n\r\n1FFFFFFFF\r\na\r\n0\r\n\r\n",
    "a chunk with a tail": "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_request_that_readers_may_split_differently_ends_the_connection(served, rest):
    head = served.head(path="/invocations", Connection="keep-alive").removesuffix(b"\r\n")
    assert served.statuses(head + rest.encode("latin-1") + SECOND.encode()) == [400]


def test_three_megabytes_in_chunks_of_one_byte_are_refused_quickly(served):
    head = served.head(Transfer_Encoding="chunked")
    begun = time.perf_counter()
    statuses = served.statuses(head, *[b"1\r\n1\r\n" * 1000] * 3000)
    assert statuses in ([400], [413])
    assert time.perf_counter() - begun < 5.0
    assert served.probe_s() < 1.0


def test_what_a_caller_sends_never_becomes_a_header_of_the_answer(served, operations):
    injected = "x%0d%0aSet-Cookie:%20a=1", "x\x85Set-Cookie: a=1", "\\r\\nSet-Cookie: a=1"
    names = (
        "X_Amzn_SageMaker_Custom_Attributes", "X_Amzn_SageMaker_Inference_Id", "Accept",
        "X_Request_Id",
    )  # fmt: skip
    for path, _ in _posts(operations):
        for text in injected:
            given = dict.fromkeys(names, text)
            body = b'{"instances": [1]}'
            head = served.head(path=filled(path), Content_Length=len(body), **given)
            told, _, _ = served.raw(head, body).partition(b"\r\n\r\n")
            names_told = {line.partition(b":")[0].lower() for line in told.split(b"\r\n")[1:]}
            assert b"set-cookie" not in names_told, path
            asked = filled(path) + "?x=" + quote("\r\nSet-Cookie: a=1")
            assert b"\nSet-Cookie" not in served.raw(served.head(path=asked, Content_Length=0))


def test_no_field_of_a_request_chooses_what_is_asked_or_run(served, operations, unused_port):
    """A server on the port that every field names would hear of it; nobody answers a 5xx either."""
    url = f"http://127.0.0.1:{unused_port}/"
    fields = dict.fromkeys(
        ("url", "api_base", "base_url", "endpoint", "callback", "model", "webhook", "file"), url
    )
    asked = {
        **fields, "instances": [1], "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "messages": [{"role": "user", "content": "a"}], "prompt": "a", "input": "a",
        "parameters": fields, "inputs": [],
    }  # fmt: skip
    with served.caller() as caller:
        for path, _ in _posts(operations):
            status, _, body = caller.ask("POST", filled(path), json.dumps(asked).encode())
            assert status < 500 or status == 501, (path, body)


@pytest.fixture
def unused_port():
    """Of a listener that fails the test if anyone connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        yield listener.getsockname()[1]
        with pytest.raises(TimeoutError):
            listener.accept()


class _Canary:
    def __init__(self, file):
        self._file = file

    def __reduce__(self):
        return (open, (str(self._file), "w"))


def test_no_pickle_is_ever_read(served, operations, tmp_path):
    canary = tmp_path / "canary"
    array = io.BytesIO()
    np.save(array, np.array([_Canary(canary)], dtype=object), allow_pickle=True)
    bodies = {
        "application/x-npy": array.getvalue(),
        "application/octet-stream": pickle.dumps(_Canary(canary)),
        "application/x-pickle": pickle.dumps(_Canary(canary)),
    }
    with served.caller() as caller:
        for path, _ in _posts(operations):
            for kind, body in bodies.items():
                status, _, _ = caller.ask("POST", filled(path), body, Content_Type=kind)
                assert 400 <= status < 500 or status == 501, (path, kind)
    assert not canary.exists()


def test_after_all_of_it_the_server_stands_and_nothing_failed_unforeseen(served):
    assert served.process.poll() is None
    assert served.predict([1, 2]) == (200, {"predictions": [1, 2]})
    assert served.probe_s() < 1.0
    assert "Traceback" not in served.log
