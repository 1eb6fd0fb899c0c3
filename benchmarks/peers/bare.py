"""The limit: httptools, uvloop and msgspec, with the model called in the loop, and no more.

    python bare.py PORT constant
    python bare.py PORT echo
    python bare.py PORT forest FILE

What has come by the time the loop has read all sockets is one call of the model. No deadline, no
limit of any size, no token, no route, no log, no failure; a request's body is one segment.
"""

import asyncio
import sys
from collections.abc import Callable

import httptools
import msgspec
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
CONSTANT = b'{"predictions":[1]}'
LARGEST_BATCH = 64
Model = Callable[[list[object]], list[object]]


class Batcher:
    """Calls the model for what waits."""

    def __init__(self, predict: Model) -> None:
        self.predict = predict
        self.loop = asyncio.get_running_loop()
        self.waiting: list[tuple[asyncio.WriteTransport, list[object]]] = []

    def add(self, transport: asyncio.WriteTransport, body: bytes) -> None:
        """A request."""
        if not self.waiting:
            self.loop.call_soon(self.run)
        self.waiting.append((transport, msgspec.json.decode(body)["instances"]))

    def run(self) -> None:
        """Answer as many as go into a call."""
        batch, self.waiting = self.waiting[:LARGEST_BATCH], self.waiting[LARGEST_BATCH:]
        found = self.predict([row for _, rows in batch for row in rows])
        at = 0
        for transport, rows in batch:
            answer = msgspec.json.encode({"predictions": found[at : at + len(rows)]})
            at += len(rows)
            transport.write(ANSWER % (len(answer), answer))
        if self.waiting:
            self.loop.call_soon(self.run)


class Bare(asyncio.Protocol):
    """One connection."""

    def __init__(self, batcher: Batcher | None) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.batcher = batcher
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """What came."""
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """The parser's."""
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""

    def on_body(self, body: bytes) -> None:
        """The parser's."""
        self.body = body

    def on_message_complete(self) -> None:
        """Answer."""
        if self.batcher is None:
            self.transport.write(ANSWER % (len(CONSTANT), CONSTANT))  # type: ignore[attr-defined]
        else:
            self.batcher.add(self.transport, self.body)  # type: ignore[arg-type]


def model(name: str, file: str | None) -> Model | None:
    """What is called; None for an answer that is always the same."""
    if name == "constant":
        return None
    if name == "echo" or file is None:
        return lambda rows: rows
    import joblib  # noqa: PLC0415 - only the forest needs it
    import numpy as np  # noqa: PLC0415

    forest = joblib.load(file)
    return lambda rows: forest.predict(np.asarray(rows)).tolist()


async def main(port: int, predict: Model | None) -> None:
    """Serve until the end of time."""
    loop = asyncio.get_running_loop()
    batcher = None if predict is None else Batcher(predict)
    await loop.create_server(lambda: Bare(batcher), "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    found = model(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    uvloop.run(main(int(sys.argv[1]), found))
