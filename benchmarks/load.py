"""Load on a server with wrk, and what a server's processes take."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SCRIPT = """
wrk.method = %(method)s
wrk.body = %(body)s
%(headers)s
function done(summary, latency, requests)
  local bad = summary.errors
  io.write(string.format("\\nFOUND %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    bad.connect + bad.read + bad.write + bad.status + bad.timeout))
end
"""


@dataclass(frozen=True)
class Call:
    """One request, the same each time."""

    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None

    @property
    def method(self) -> str:
        """POST where there is a body."""
        return "GET" if self.body is None else "POST"


@dataclass(frozen=True)
class Found:
    """What came of a load."""

    rate: float
    """Answers a second."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    """Answers that are none of 2xx or 3xx, and connections that failed."""


def wrk(port: int, call: Call, *, connections: int, seconds: float) -> Found:
    """Ask over so many connections, each as soon as it has its answer."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed (apt-get install wrk)")
    headers = {"Content-Type": "application/json", **(call.headers or {})}
    quoted = {
        "method": json.dumps(call.method),
        "body": "nil" if call.body is None else json.dumps(call.body.decode()),
        "headers": "\n".join(
            f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
            for name, value in headers.items()
        ),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT % quoted)
        script.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s"]
        command += ["-s", script.name, f"http://127.0.0.1:{port}{call.path}"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("FOUND ")]
    requests, took_us, p50, p99, most, errors = map(int, line.split()[1:])
    return Found(requests / (took_us / 1e6), p50 / 1e3, p99 / 1e3, most / 1e3, errors)


def ask(port: int, call: Call, *, timeout_s: float = 10) -> tuple[int, bytes]:
    """One request on a connection of its own; status and body, 0 where there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json", **(call.headers or {})}
        connection.request(call.method, call.path, call.body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@dataclass
class Running:
    """A server's processes."""

    process: subprocess.Popen[bytes]
    port: int
    cold_s: float
    """From the start of the process to the first answer of 200."""

    def tree(self) -> list[psutil.Process]:
        """All of its processes."""
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pss_mib(self) -> float:
        """What they hold together, shared pages counted once."""
        found = 0
        for one in self.tree():
            try:
                found += one.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
                continue
        return found / 2**20


@contextmanager
def running(  # noqa: PLR0913 - each is part of how a process is started
    argv: Sequence[str],
    port: int,
    first: Call,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: Path,
    pass_fds: Sequence[int] = (),
    patience_s: float = 90,
) -> Iterator[Running]:
    """Start a server, wait for its first answer, and end all of its processes afterwards."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, argv)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    found = Running(process, port, 0.0)
    try:
        while ask(port, first)[0] != 200:
            if process.poll() is not None or time.monotonic() - began > patience_s:
                sys.stderr.write(log.read_text(errors="replace")[-3000:])
                raise SystemExit(f"{argv[0]} did not come up; its log is above")
            time.sleep(0.01)
        found.cold_s = time.monotonic() - began
        yield found
    finally:
        tree = found.tree()
        for one in tree:
            _signal(one, signal.SIGTERM)
        _, left = psutil.wait_procs(tree, timeout=3)
        for one in left:
            _signal(one, signal.SIGKILL)
        process.wait()


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
