"""A model in the server's own process: answers, streams, and what ends it."""

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from freelane.runtime.portable.frames import Kind, pack_body
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.inline import Inline
from freelane.runtime.server.order import Order

PREDICT = """
import threading
import time

def load(model_dir):
    return []

def predict(model, instances):
    model.append(len(instances))
    for row in instances:
        if row == "raise":
            raise ValueError("no such row")
        if isinstance(row, dict):
            time.sleep(row["sleep"])
    if instances == ["calls"]:
        return [list(model)]
    if instances == ["thread"]:
        return [threading.current_thread() is threading.main_thread()]
    return instances
"""
STREAMS = """
import time

def load(model_dir):
    return None

def predict(model, instances):
    for number in range(instances[0]["count"]):
        if number == instances[0].get("raise"):
            raise ValueError("no more")
        time.sleep(instances[0].get("pause", 0))
        yield number
"""


class Heard(Listener):
    def __init__(self):
        self.told, self.items, self.over, self.takes = [], [], asyncio.Event(), None

    def done(self, payload):
        self._end(("done", json.loads(payload)))

    def failed(self, problem):
        self._end(("failed", problem.status))

    def item(self, payload):
        self.items.append(json.loads(payload))
        return self.takes is None or len(self.items) % self.takes != 0

    def ended(self, payload):
        self._end(("ended", payload))

    def _end(self, told):
        self.told.append(told)
        self.over.set()


class Running:
    def __init__(self, inline, seen, failed):
        self.inline, self.batches, self.failed = inline, seen.batches, failed

    def submit(self, *instances, kind=Kind.ROWS, key="k", payload=None, timeout_s=20.0):
        heard = Heard()
        if payload is None:
            payload = ",".join(map(json.dumps, instances)).encode()
        deadline = time.monotonic() + timeout_s
        ask = Ask(kind, payload, heard, deadline, rows=len(instances), key=key)
        self.inline.submit(ask)
        return ask, heard

    def stream(self, timeout_s=20.0, **row):
        payload = json.dumps({"instances": [row]}).encode()
        return self.submit(kind=Kind.STREAM, key=None, payload=payload, timeout_s=timeout_s)

    async def answer(self, *instances, **options):
        _, heard = self.submit(*instances, **options)
        await asyncio.wait_for(heard.over.wait(), 20)
        return heard.told[0]


class Seen:
    def __init__(self):
        self.batches = []

    def batch(self, rows, requests, seconds):
        self.batches.append((rows, requests))

    def worker_started(self):
        raise AssertionError

    def worker_ended(self, why):
        raise AssertionError


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Opens a runner; the process is as before when it is closed."""
    monkeypatch.chdir(tmp_path)  # and back: the model changes into its own folder
    monkeypatch.setattr(sys, "path", list(sys.path))
    # As under a terminal: pytest's own stand-in cannot be asked to keep to lines.
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    before = set(sys.modules)

    @asynccontextmanager
    async def open_runner(script=PREDICT, **changes):
        order = order_of(tmp_path, script, **changes)
        seen, failed, ready = Seen(), [], asyncio.Event()
        inline = Inline(
            order,
            on_ready=lambda _: ready.set(),
            on_failed=lambda reason: (failed.append(reason), ready.set()),
            observer=seen,
        )
        inline.start()
        await ready.wait()
        try:
            yield Running(inline, seen, failed)
        finally:
            await inline.drain(0.0)

    yield open_runner
    for name in set(sys.modules) - before:
        if name.startswith("predict"):
            del sys.modules[name]


def order_of(folder: Path, script: str, **changes) -> Order:
    code = folder / "bundle" / "code"
    code.mkdir(parents=True)
    (code / "predict.py").write_text(textwrap.dedent(script))
    task = {"schema_version": 1, "kind": "serve", "name": "m", "script": "predict.py"}
    (folder / "bundle" / "task.json").write_text(json.dumps({**task, "env": {}, "rate": {}}))
    (folder / "model").mkdir()
    fields = {
        "name": "m",
        "bundle": str(folder / "bundle"),
        "python": sys.executable,
        "model": str(folder / "model"),
        "isolation": "none",
    }
    return Order(**{**fields, **changes})


async def until(holds):
    give_up = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up, "it did not come to pass"
        await asyncio.sleep(0.001)


def run(coroutine):
    """On the server's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def test_the_model_is_called_in_the_main_thread(running):
    async def story():
        async with running() as inline:
            assert await inline.answer("thread") == ("done", {"predictions": [True]})

    run(story())


def test_what_came_while_the_model_ran_is_one_call(running):
    async def story():
        async with running() as inline:
            assert await inline.answer(0)
            heard = [inline.submit(n)[1] for n in range(5)]
            for one in heard:
                await one.over.wait()
            assert [one.told[0][1]["predictions"] for one in heard] == [[n] for n in range(5)]
            assert inline.batches == [(1, 1), (5, 5)]

    run(story())


def test_one_requests_failure_is_no_others(running, capfd):
    async def story():
        async with running() as inline:
            _, good = inline.submit(1)
            _, bad = inline.submit("raise")
            await bad.over.wait()
            await good.over.wait()
            assert good.told == [("done", {"predictions": [1]})]
            assert bad.told == [("failed", 500)]

    run(story())


def test_a_model_that_takes_one_request_at_a_time_is_called_so(running):
    script = "def load(d): return None\ndef predict(model, instances): return {'sum': 1}\n"

    async def story():
        async with running(script) as inline:
            for _ in range(2):
                heard = [inline.submit(n)[1] for n in range(3)]
                for one in heard:
                    await one.over.wait()
            assert inline.batches[-3:] == [(1, 1)] * 3
            assert inline.inline.hello.batches is False

    run(story())


def test_a_raw_body_is_answered_raw(running):
    async def story():
        async with running() as inline:
            heard = Heard()
            heard.done = lambda payload: heard.failed(type("P", (), {"status": payload}))
            body = pack_body(b'{"content_type": "text/csv"}', b"1,2\n")
            inline.inline.submit(Ask(Kind.INVOKE, body, heard, time.monotonic() + 20))
            await heard.over.wait()
            assert b"1" in heard.told[0][1]
            assert (await inline.answer(kind=Kind.EMBED, key=None, payload=b"{}"))[0] == "failed"

    run(story())


def test_a_full_queue_refuses(running):
    async def story():
        async with running(max_queue=1) as inline:
            _, first = inline.submit(1)
            _, refused = inline.submit(2)
            assert refused.told == [("failed", 429)]
            await first.over.wait()

    run(story())


def test_what_is_cancelled_is_not_run(running):
    async def story():
        async with running() as inline:
            ask, heard = inline.submit(1)
            inline.inline.cancel(ask)
            assert (await inline.answer("calls"))[1] == {"predictions": [[1]]}
            assert heard.told == []

    run(story())


def test_a_stream_comes_item_by_item_while_others_wait(running):
    async def story():
        async with running(STREAMS) as inline:
            _, heard = inline.stream(count=50)
            _, second = inline.stream(count=2)
            await second.over.wait()
            assert heard.items == list(range(50))
            assert second.items == [0, 1]
            assert heard.told == [("ended", b"{}")]

    run(story())


def test_a_stream_waits_for_its_reader(running):
    async def story():
        async with running(STREAMS) as inline:
            ask, heard = inline.stream(count=300)
            heard.takes = 10
            for seen in range(10, 301, 10):
                await until(lambda seen=seen: len(heard.items) == seen)
                ask.resume()
            await heard.over.wait()
            assert heard.items == list(range(300))

    run(story())


def test_a_stream_that_raises_fails_where_it_stands(running, capfd):
    async def story():
        async with running(STREAMS) as inline:
            _, heard = inline.stream(count=5, **{"raise": 3})
            await heard.over.wait()
            assert heard.items == [0, 1, 2]
            assert heard.told == [("failed", 500)]

    run(story())


@pytest.mark.parametrize("takes", [None, 1])
def test_a_stream_that_nobody_reads_any_more_ends(running, takes):
    async def story():
        async with running(STREAMS) as inline:
            ask, heard = inline.stream(count=1_000_000)
            heard.takes = takes
            await until(lambda: heard.items)
            inline.inline.cancel(ask)
            _, other = inline.stream(count=1)
            await asyncio.wait_for(other.over.wait(), 5)
            assert heard.told == []

    run(story())


def test_a_stream_ends_at_its_deadline(running):
    async def story():
        async with running(STREAMS) as inline:
            _, heard = inline.stream(count=1_000_000, pause=0.01, timeout_s=0.2)
            await asyncio.wait_for(heard.over.wait(), 5)
            assert heard.told == [("failed", 504)]
            _, other = inline.stream(count=1)
            await asyncio.wait_for(other.over.wait(), 5)

    run(story())


def test_draining_answers_what_is_under_way_and_refuses_what_comes(running):
    async def story():
        async with running(STREAMS) as inline:
            _, heard = inline.stream(count=20, pause=0.01)
            draining = asyncio.ensure_future(inline.inline.drain(5.0))
            await asyncio.sleep(0)
            assert await inline.answer(1) == ("failed", 503)
            await draining
            assert heard.told == [("ended", b"{}")]

    run(story())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("def load(d): raise KeyError('weights')\ndef predict(m, i): pass\n", "KeyError"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
        ("x = 1\n", "neither load"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_of(running, capfd, script, reason):
    async def story():
        async with running(script) as inline:
            assert reason in inline.failed[0]
            assert await inline.answer(1) == ("failed", 503)

    run(story())


@pytest.mark.parametrize(
    ("call", "code"),
    [("import time; time.sleep(600)", 70), ("import ctypes; ctypes.PyDLL(None).sleep(600)", 1)],
)
def test_a_call_that_does_not_come_back_ends_the_process(call, code):
    """Even where it never lets go of the interpreter's lock: the second is such a one."""
    program = f"""
import time
from freelane.runtime.server.watchdog import Watchdog
dog = Watchdog(0.4)
dog.start()
time.sleep(0.7)  # no call: nothing happens
dog.begin(time.monotonic())
dog.over()
time.sleep(0.7)
print("alive", flush=True)
dog.begin(time.monotonic())
{call}
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "alive\n"
    assert ended.returncode == code
    assert "<module>" in ended.stderr  # where it hangs
