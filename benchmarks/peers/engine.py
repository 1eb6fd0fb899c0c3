"""An OpenAI-compatible engine that writes at once: what an endpoint before it adds is all there is.

python engine.py PORT PIECES
"""

import asyncio
import json
import sys

import httptools
import uvloop

from freelane.model.generation import Finish, TokenUsage
from freelane.wire.openai import Writer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(pieces: int) -> bytes:
    """The whole streamed answer, head and all."""
    writer = Writer(chat=True, model="m", name="r", created=1, include_usage=True)
    events = [writer.start(), *(writer.text(f" word{n}") for n in range(pieces))]
    events.append(writer.end(Finish.STOP, TokenUsage(3, pieces)))
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events) + b"0\r\n\r\n"


class Line(asyncio.Protocol):
    """One connection: whatever is posted is answered alike."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(self._reply)


async def main() -> None:
    """Serve until killed."""
    port, reply = int(sys.argv[1]), answer(int(sys.argv[2]))
    server = await asyncio.get_running_loop().create_server(lambda: Line(reply), "127.0.0.1", port)
    print(json.dumps({"port": port}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
