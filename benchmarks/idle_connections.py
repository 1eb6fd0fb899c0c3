"""Ten thousand connections that say nothing, five hundred that say it slowly, and a probe.

    python benchmarks/idle_connections.py                        # 10,000 + 500, 20 s
    python benchmarks/idle_connections.py --idle 500 --slow 50 --seconds 2   # the short form

A third of the slow ones send a head byte by byte, a third a body, a third ask and never read. They
come from a process of their own, as strangers would. The probe asks for a prediction every 20 ms,
by turns over a connection that it keeps and over a new one; its p99 has to stay under a second.
"""

import argparse
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from serving import TOKEN, Bench, Running, ours, train

LIMIT_S = 1.0
PATH = "/v1/endpoints/bench/predict"
_HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
HEAD = (_HEAD + "X-Slow: ").encode()
BODY = (_HEAD + "Content-Type: application/json\r\nContent-Length: 2000\r\n\r\n").encode()
ASK = (_HEAD + "Content-Type: application/json\r\nContent-Length: 60018\r\n\r\n").encode()
ASK += b'{"instances": ["' + b"x" * 60_000 + b'"]}'[:60_018]


def strangers(port: int, idle: int, slow: int, token: str) -> None:
    """Hold the connections until stdin ends; says how many stand, and at the end how many do."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(idle + slow + 64, hard), hard))
    held = []
    for _ in range(idle):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.settimeout(0)
        held.append(sock)
    slows: list[tuple[socket.socket, bytes]] = []
    print(len(held), flush=True)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        slows = [(sock, data) for sock, data in slows if _feed(sock, data)]
        while len(slows) < slow:  # who was ended comes again
            kind = (HEAD, BODY, ASK)[len(slows) % 3].replace(TOKEN.encode(), token.encode())
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            sock.settimeout(0)
            with suppress(OSError):
                sock.send(kind)
            slows.append((sock, kind))
    print(sum(_stands(sock) for sock in held), flush=True)


def _feed(sock: socket.socket, data: bytes) -> bool:
    """Send one byte more; whether the connection still stands."""
    try:
        if data.endswith(b"}"):
            sock.send(data)  # asks again, and reads nothing
        else:
            sock.send(b"x")
    except BlockingIOError:
        return True
    except OSError:
        sock.close()
        return False
    return True


def _stands(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def probe(port: int, body: bytes, seconds: float) -> tuple[list[float], int]:
    """How long each answer took, in seconds, and how many there were not."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    kept = HTTPConnection("127.0.0.1", port, timeout=10)
    took, failed = [], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        is_new = len(took) % 2
        connection = HTTPConnection("127.0.0.1", port, timeout=10) if is_new else kept
        began = time.monotonic()
        try:
            connection.request("POST", PATH, body, headers)
            reply = connection.getresponse()
            reply.read()
            failed += reply.status != 200
        except (OSError, HTTPException):
            failed += 1
        took.append(time.monotonic() - began)
        if is_new:
            connection.close()
        time.sleep(0.02)
    kept.close()
    return took, failed


def percentile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(server: Running, options: argparse.Namespace, body: bytes) -> int:
    """Probe without strangers, then among them; 1 where it took too long or failed."""
    before, _ = probe(server.port, body, min(3.0, options.seconds))
    rss = sum(one.memory_info().rss for one in server.tree())
    argv = [sys.executable, __file__, "--port", str(server.port), "--token", TOKEN]
    argv += ["--idle", str(options.idle), "--slow", str(options.slow)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("no pipes")
        process.stdout.readline()
        took, failed = probe(server.port, body, options.seconds)
        grown = sum(one.memory_info().rss for one in server.tree()) - rss
        process.stdin.close()
        stood = int(process.stdout.readline())
    p99 = percentile(took, 0.99)
    found = {
        "idle": options.idle,
        "idle that stood to the end": stood,
        "slow": options.slow,
        "probes": len(took),
        "failed": failed,
        "p50 ms alone": round(1000 * statistics.median(before), 2),
        "p50 ms": round(1000 * statistics.median(took), 2),
        "p99 ms": round(1000 * p99, 2),
        "most ms": round(1000 * max(took), 2),
        "MiB more": round(grown / 2**20, 1),
    }
    print(json.dumps(found, indent=1))
    return 1 if failed or p99 >= LIMIT_S else 0


def main() -> int:
    """Measure, or be the strangers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--isolation", choices=("isolated", "none"), default="isolated")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port is not None:
        strangers(options.port, options.idle, options.slow, options.token)
        os._exit(0)
    with tempfile.TemporaryDirectory() as there:
        bench = Bench(Path(there), options.seconds, train(Path(there)))
        with ours(options.isolation, "echo", bench) as (server, call):
            return measure(server, options, call.body or b"")


if __name__ == "__main__":
    sys.exit(main())
