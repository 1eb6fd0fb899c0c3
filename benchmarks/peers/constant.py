"""Freelane's HTTP layer under an app that answers a constant: `python constant.py PORT`."""

import asyncio
import socket
import sys

import uvloop

from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.http.limits import Limits
from freelane.runtime.server.http.listener import Listener

BODY = b'{"predictions":[1]}'


class Constant:
    """Answers."""

    def head(self, _exchange: Exchange) -> int:
        """Read bodies as large as an endpoint does."""
        return 10 * 2**20

    def body(self, exchange: Exchange) -> None:
        """Answer."""
        exchange.reply(200, BODY)

    def refuse(
        self, _exchange: Exchange | None, problem: Exception
    ) -> tuple[int, str, bytes, tuple[Header, ...]]:
        """Answer whatever went wrong."""
        return getattr(problem, "status", 500), "text/plain", str(problem).encode(), ()

    def finished(self, exchange: Exchange, status: int, sent: int) -> None:
        """Tell nobody."""


async def main(port: int) -> None:
    """Serve until the end of time."""
    sock = socket.create_server(("127.0.0.1", port))
    await Listener(Constant(), Limits(), sockets=[sock]).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
