"""An engine on loopback that answers as a test says, and the runner that passes asks on to it."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import pytest
import uvloop

from freelane.model.generation import Finish, TokenUsage
from freelane.runtime.portable.frames import Kind
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.engine import Engine
from freelane.runtime.server.order import EngineOrder, Order
from freelane.wire import openai

USAGE = TokenUsage(5, 6)


@dataclass
class Asked:
    """One request that came to the engine."""

    path: str
    headers: dict
    document: dict
    writer: asyncio.StreamWriter
    is_gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def reply(self, status, body, headers=""):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Word\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + data)
        await self.writer.drain()

    async def begin(self):
        head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream"
        self.writer.write(f"{head}\r\n\r\n".encode())

    async def send(self, data):
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def end(self):
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def stream(self, *texts, finish=Finish.STOP, pause_s=0.0):
        writer = openai.Writer(chat=True, model="m", name="r", created=1, include_usage=True)
        await self.begin()
        for piece in [writer.start(), *map(writer.text, texts)]:
            await self.send(piece)
            await asyncio.sleep(pause_s)
        await self.send(writer.end(finish, USAGE))
        await self.end()


class LocalEngine:
    """Hands each request to `answer`, one at a time on a connection."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.connections = 0
        self.left = asyncio.Event()
        """A connection was ended by whoever asked."""
        self._tasks = set()

    async def connected(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
                raw = dict(line.split(": ", 1) for line in head[1:-2])
                body = await reader.readexactly(int(headers["content-length"]))
                asked = Asked(head[0].split()[1], raw, json.loads(body), writer)
                self.asked.append(asked)
                gone = asyncio.ensure_future(self._watch(reader, asked))
                try:
                    await self.answer(asked)
                finally:
                    gone.cancel()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.left.set()
            writer.close()
            self._tasks.discard(task)

    @staticmethod
    async def _watch(reader, asked):
        while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - a stream tells no event
            await asyncio.sleep(0.005)
        asked.is_gone.set()

    async def close(self):
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Heard(Listener):
    """Keeps what it hears."""

    def __init__(self):
        self.items = []
        self.end = None
        self.payload = None
        self.problem = None
        self.over = asyncio.Event()
        self.takes = True

    def done(self, payload):
        self.payload = json.loads(payload)
        self.over.set()

    def failed(self, problem):
        self.problem = problem
        self.over.set()

    def item(self, payload):
        self.items.append(json.loads(payload))
        return self.takes

    def ended(self, payload):
        self.end = json.loads(payload)
        self.over.set()


@dataclass
class Asking:
    """The runner, and what is asked of it."""

    engine: Engine
    local: LocalEngine

    def submit(self, kind, document, *, timeout_s=10.0, takes=True, parameters=b""):
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        heard = Heard()
        heard.takes = takes
        ask = Ask(kind, payload, heard, time.monotonic() + timeout_s, parameters=parameters)
        heard.ask = ask
        self.engine.submit(ask)
        return heard

    async def ask(self, kind, document, **options):
        heard = self.submit(kind, document, **options)
        async with asyncio.timeout(10):
            await heard.over.wait()
        assert heard.ask.is_over
        return heard

    def generating(self, *, parameters=None, prompt=None, **options):
        messages = [] if prompt else [{"role": "user", "content": "hello"}]
        document = {"messages": messages, "prompt": prompt, "parameters": parameters or {}}
        return self.submit(Kind.GENERATE, document, **options)

    async def generate(self, **options):
        heard = self.generating(**options)
        async with asyncio.timeout(10):
            await heard.over.wait()
        return heard


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request):
    return request.param


@pytest.fixture
def asking(tmp_path, new_loop):
    """Runs `use(asking)` with an engine that answers by `answer`; what `use` returns."""

    def run(answer, use, *, url="http://127.0.0.1:{port}/v1", key_variable=None, **order):
        async def main():
            local = LocalEngine(answer)
            server = await asyncio.start_server(local.connected, "127.0.0.1", 0, limit=2**22)
            port = server.sockets[0].getsockname()[1]
            ready, failed = asyncio.Event(), []
            engine = Engine(
                Order(
                    name="chat",
                    bundle=str(tmp_path),
                    python="python3",
                    model=str(tmp_path),
                    engine=EngineOrder(
                        url=url.format(port=port), model="llama", key_variable=key_variable
                    ),
                    **order,
                ),
                on_ready=lambda _hello: ready.set(),
                on_failed=failed.append,
            )
            engine.start()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if failed:
                server.close()
                return failed[0]
            assert ready.is_set()
            try:
                return await use(Asking(engine, local))
            finally:
                await engine.drain(0.0)
                server.close()
                await local.close()
                await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main())

    return run
