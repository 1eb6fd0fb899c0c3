"""An endpoint's server with a model of the test's own, and callers that write their requests."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

PREDICTS = "/v1/endpoints/tiny/predict"


class Served:
    """A server's process, and how it is asked."""

    def __init__(self, folder: Path, port: int, token: str, process: subprocess.Popen):
        self.folder = folder
        self.port = port
        self.token = token
        self.process = process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def connect(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        sock.sendall(data)
        return sock

    def raw(self, *pieces: bytes) -> bytes:
        """All that is answered on one connection, which the server has to end."""
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

    def caller(self) -> "Caller":
        return Caller(self)

    def predict(self, instances, **parameters) -> tuple[int, dict]:
        asked = {"instances": instances, **({"parameters": parameters} if parameters else {})}
        with self.caller() as caller:
            status, _, body = caller.ask("POST", PREDICTS, json.dumps(asked).encode())
        return status, json.loads(body)

    def metrics(self) -> dict[str, float]:
        """The value of each sample by its name with labels, as the page has it."""
        with self.caller() as caller:
            status, _, page = caller.ask("GET", "/metrics")
        assert status == 200
        lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def probe_s(self) -> float:
        """How long a health check takes, which has to succeed."""
        begun = time.perf_counter()
        assert self.statuses(self.head("GET", "/ping", Authorization=None)) == [200]
        return time.perf_counter() - begun


class Caller:
    """Keeps its connection for as long as the server does."""

    def __init__(self, served: Served):
        self._served = served
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, method, path, body=None, **headers):
        """Status, headers by their names in lower case, and body."""
        given = {
            "Authorization": f"Bearer {self._served.token}",
            "Content-Type": "application/json",
        }
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        told = {name: value for name, value in given.items() if value is not None}
        self._connection.request(method, path, body, told)
        reply = self._connection.getresponse()
        data = reply.read()
        return reply.status, {name.lower(): text for name, text in reply.getheaders()}, data


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Start a server with a predict.py and whatever its order shall say beside the usual."""
    with ExitStack() as held:

        def start(predict: str, *, environ: dict | None = None, **order) -> Served:
            folder = tmp_path_factory.mktemp("served")
            source, model = folder / "source", folder / "model"
            for made in (source, model, folder / "store"):
                made.mkdir()
            (source / "predict.py").write_text(predict)
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
            given = {
                "name": "tiny",
                "bundle": str(folder / "work"),
                "python": sys.executable,
                "model": str(model),
                "token_file": str(folder / "token"),
                "ready_file": str(folder / "ready.json"),
                "access_log": str(folder / "access.log"),
                "async_folder": str(folder / "store"),
            }
            (folder / "order.json").write_text(json.dumps(given | order))
            log = held.enter_context((folder / "log").open("wb"))
            process = held.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "freelane.runtime.server", "order.json"],
                    cwd=folder,
                    env={**os.environ, **(environ or {})},
                    stdout=log,
                    stderr=log,
                )
            )
            held.callback(_end, process)
            deadline = time.monotonic() + 30
            while not (folder / "ready.json").exists():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            port = json.loads((folder / "ready.json").read_text())["port"]
            return Served(folder, port, token, process)

        yield start


def _end(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
