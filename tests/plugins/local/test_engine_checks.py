"""Whether `doctor` sees what is wrong with an engine."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import Outcome
from freelane.model.endpoint import Engine
from freelane_local.engine_checks import engine_checks


class Shelf(ThreadingHTTPServer):
    """An engine that only lists its models."""

    daemon_threads = True
    status = 200
    body = json.dumps({"data": [{"id": "llama3.2:latest"}, {"id": "qwen"}]}).encode()
    key = None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}).start()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["authorization"]))
        refused = self.server.key not in {None, self.headers["authorization"]}
        self.send_response(401 if refused else self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def shelf():
    server = Shelf()
    yield server
    server.shutdown()
    server.server_close()


def look(url, *, model="llama3.2", key=None, environ=None):
    engine = Engine(name="chat", url=url, model=model, key_variable=key)
    found = engine_checks({"chat": engine}, environ or {}, SystemClock(), provider="local")
    (check,) = found
    assert check.subject == "model chat"
    return check


@pytest.mark.parametrize("model", ["llama3.2", "llama3.2:latest", "qwen"])
def test_an_engine_that_has_the_model_is_well(shelf, model):
    check = look(shelf.url, model=model)
    assert (check.outcome, check.remedy) == (Outcome.OK, None)
    assert shelf.asked == [("/v1/models", None)]


def test_a_model_that_it_lacks_is_told_with_those_it_has(shelf):
    check = look(shelf.url, model="gpt")
    assert check.outcome is Outcome.WARNING
    assert "has no gpt; it has llama3.2:latest, qwen" in check.detail
    assert check.remedy == "change model in [providers.local.models.chat]"


def test_an_engine_that_is_not_started_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        check = look(f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    assert (check.outcome, "does not answer" in check.detail) == (Outcome.WARNING, True)


def test_a_key_goes_along_and_is_never_told(shelf):
    shelf.key = "Bearer secret-of-mine"
    environ = {"KEY": "secret-of-mine"}
    assert look(shelf.url, key="KEY", environ=environ).outcome is Outcome.OK
    refused = look(shelf.url, key="KEY", environ={"KEY": "another-secret"})
    assert (refused.outcome, "refuses the key" in refused.detail) == (Outcome.FAILED, True)
    assert "secret" not in str(refused)


def test_a_key_that_is_not_set_asks_nobody(shelf):
    check = look(shelf.url, key="KEY")
    assert (check.outcome, check.remedy) == (Outcome.FAILED, "export KEY=...")
    assert shelf.asked == []


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"not here"), (200, b"[]"), (200, b"<html>"), (200, b'{"data": 3}')]
)
def test_what_is_no_engine_is_told(shelf, status, body):
    shelf.status, shelf.body = status, body
    check = look(shelf.url)
    assert check.outcome is Outcome.WARNING
    assert "no list of models" in check.detail
