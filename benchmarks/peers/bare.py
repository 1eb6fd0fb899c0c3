"""The limit: httptools and uvloop, and nothing that a server needs beside them.

    python bare.py PORT constant
    python bare.py PORT echo

No deadline, no limit of any size, no token, no route, no log; a request's body is one segment.
"""

import asyncio
import sys

import httptools
import msgspec
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
CONSTANT = b'{"predictions":[1]}'


class Bare(asyncio.Protocol):
    """One connection."""

    def __init__(self, *, echoes: bool) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.echoes = echoes
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
        body = CONSTANT
        if self.echoes:
            rows = msgspec.json.decode(self.body)["instances"]
            body = msgspec.json.encode({"predictions": rows})
        self.transport.write(ANSWER % (len(body), body))  # type: ignore[attr-defined]


async def main(port: int, *, echoes: bool) -> None:
    """Serve until the end of time."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Bare(echoes=echoes), "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), echoes=sys.argv[2] == "echo"))
