"""A pool of workers that speak frames and do what their rows say, and asks that hear of it."""

import asyncio
import json
import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from freelane.runtime.portable.frames import Kind
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.order import Order
from freelane.runtime.server.workers.pool import Pool

BOOTSTRAP = """
import json, os, select, socket, subprocess, sys, time
from freelane.runtime.portable import frames
from freelane.runtime.portable.frames import Kind, frame

channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--channel") + 1]))
reader = frames.Reader()
kept = []
note = os.environ.get("NOTE")

def send(kind, call, payload=b""):
    channel.sendall(frame(kind, call, payload))

{load}

def received(block=True):
    if not block and not select.select([channel], [], [], 0)[0]:
        return []
    data = channel.recv(1 << 20)
    if not data:
        sys.exit(0)
    return reader.feed(data)

def one(row):
    if not isinstance(row, dict):
        return row
    if note and "id" in row:
        with open(note, "a") as file:
            file.write(str(row["id"]) + "\\n")
    time.sleep(row.get("sleep", 0))
    if "exit" in row:
        os._exit(row["exit"])
    if "kill" in row:
        os.kill(os.getpid(), row["kill"])
    if "grow" in row:
        kept.append(bytearray(os.urandom(1 << 20) * row["grow"]))
    if "close" in row:
        channel.close()
        time.sleep(60)
    if "child" in row:
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        return child.pid
    if "noise" in row:
        channel.sendall(b"\\xff" * 64)
    if "cards" in row:
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    if "environ" in row:
        return sorted(os.environ)
    if "alone" in row:
        send(Kind.HELLO, 0, hello(batches=False))
    return os.getpid() if "pid" in row else row

def rows(payload):
    counts, parameters, data = frames.unpack_rows(payload)
    instances = json.loads(data)
    assert sum(counts) == len(instances)
    replies = []
    for count in counts:
        mine, instances = instances[:count], instances[count:]
        if any(isinstance(row, dict) and "fail" in row for row in mine):
            text = json.dumps(dict(status=500, type="model_error", message="no", headers=dict(),
                                   details=dict()))
            replies.append((False, text.encode()))
        else:
            document = dict(predictions=[one(row) for row in mine], batch=len(counts))
            if parameters:
                document["parameters"] = json.loads(parameters)
            replies.append((True, json.dumps(document).encode()))
    return frames.pack_replies(replies)

def hello(batches):
    return json.dumps(dict(style="native", batches=batches, streams=True, generates=False,
                           embeds=False, counts=False, later=1)).encode()

send(Kind.HELLO, 0, hello(batches=True))
pending = []
while True:
    if not pending:
        pending += received()
        continue
    kind, call, payload = pending.pop(0)
    if kind is Kind.CLOSE:
        sys.exit(0)
    if kind is Kind.ROWS:
        send(Kind.REPLY, call, rows(payload))
    elif kind is Kind.INVOKE:
        head, body = frames.unpack_body(payload)
        send(Kind.REPLY, call, frames.pack_body(b"{{}}", body))
    elif kind is Kind.COUNT:
        send(Kind.PROBLEM, call, json.dumps(dict(status=501, type="unsupported", message="none",
                                                 headers=dict(), details=dict())).encode())
    elif kind is Kind.STREAM:
        row = json.loads(payload)["instances"][0]
        for number in range(row["count"]):
            if row.get("deaf") is None:
                pending += received(block=False)
            if any(k is Kind.CANCEL and c == call for k, c, _ in pending):
                break
            send(Kind.ITEM, call, json.dumps(number).encode() + b" " * row.get("pad", 0))
            time.sleep(row.get("pause", 0))
            if number + 1 == row.get("exit"):
                os._exit(1)
        send(Kind.END, call, b"{{}}")
"""


class Heard(Listener):
    """What an ask was told."""

    def __init__(self) -> None:
        self.told = []
        self.items = []
        self.over = asyncio.Event()
        self.takes = None
        self.at = None
        self.then = None

    def done(self, payload):
        self._end(("done", payload))

    def failed(self, problem):
        self._end(("failed", problem))

    def item(self, payload):
        self.items.append(json.loads(payload))
        return self.takes is None or len(self.items) % self.takes != 0

    def ended(self, payload):
        self._end(("ended", payload))

    def _end(self, told):
        self.told.append(told)
        self.at = time.monotonic()
        self.over.set()
        if self.then is not None:
            self.then()

    @property
    def document(self):
        kind, payload = self.told[0]
        assert kind == "done", self.told
        return json.loads(payload)

    @property
    def problem(self):
        kind, problem = self.told[0]
        assert kind == "failed", self.told
        return problem


def ask_of(*instances, kind=Kind.ROWS, key="k", parameters=None, timeout_s=20.0, payload=None):
    """An ask as a route makes it, and what it hears."""
    heard = Heard()
    if payload is None:
        payload = ",".join(json.dumps(instance) for instance in instances).encode()
    ask = Ask(
        kind=kind,
        payload=payload,
        listener=heard,
        deadline=time.monotonic() + timeout_s,
        rows=len(instances),
        parameters=b"" if parameters is None else json.dumps(parameters).encode(),
        key=key,
    )
    return ask, heard


class Running:
    """A pool in a loop, with the fake workers of a folder."""

    def __init__(self, pool, order, failed, seen):
        self.pool, self.order, self.failed, self.seen = pool, order, failed, seen

    def submit(self, *instances, **options):
        ask, heard = ask_of(*instances, **options)
        self.pool.submit(ask)
        return ask, heard

    def stream(self, **row):
        payload = json.dumps({"instances": [row]}).encode()
        return self.submit(kind=Kind.STREAM, key=None, payload=payload)

    async def answer(self, *instances, **options):
        _, heard = self.submit(*instances, **options)
        await asyncio.wait_for(heard.over.wait(), 20)
        return heard

    async def until(self, holds: Callable[[], bool], longest_s: float = 15.0):
        give_up = time.monotonic() + longest_s
        while not holds():
            assert time.monotonic() < give_up, "it did not come to pass"
            await asyncio.sleep(0.01)

    async def ready(self):
        await self.until(lambda: self.pool.hello is not None or self.failed)


class Seen:
    """The observer."""

    def __init__(self):
        self.batches, self.starts, self.ends = [], 0, []

    def batch(self, rows, requests, seconds):
        self.batches.append((rows, requests))

    def worker_started(self):
        self.starts += 1

    def worker_ended(self, why):
        self.ends.append(why)


@pytest.fixture
def running(tmp_path: Path) -> Callable[..., AsyncIterator[Running]]:
    """Opens a pool; nothing of it is left when it is closed."""

    @asynccontextmanager
    async def open_pool(*, load="", wait=True, grace_s=0.0, **changes):
        (tmp_path / "bootstrap.py").write_text(BOOTSTRAP.format(load=textwrap.dedent(load)))
        fields = {
            "name": "digits",
            "bundle": str(tmp_path),
            "python": sys.executable,
            "model": str(tmp_path / "model"),
        }
        order = Order(**{**fields, **changes})
        failed, seen = [], Seen()
        pool = Pool(
            order,
            on_ready=lambda _: None,
            on_failed=failed.append,
            observer=seen,
            tick_s=0.05,
        )
        pool.start()
        run = Running(pool, order, failed, seen)
        try:
            if wait:
                await run.ready()
            yield run
        finally:
            await pool.drain(grace_s)

    return open_pool


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does to workers, none outlives it."""
    before = psutil.Process().children(recursive=True)  # a database, or what was not reaped
    yield
    left = psutil.Process().children(recursive=True)
    assert [process for process in left if process not in before] == []


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fake workers write the id of each row that they see."""
    file = tmp_path / "seen"
    file.touch()
    monkeypatch.setitem(os.environ, "NOTE", str(file))
    return file
