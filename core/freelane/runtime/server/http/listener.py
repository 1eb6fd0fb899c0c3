"""Takes connections on sockets that are listened on already, and lets them end gently."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence

from freelane.runtime.server.exchange import App
from freelane.runtime.server.http.connection import Connection
from freelane.runtime.server.http.crowd import Crowd
from freelane.runtime.server.http.limits import Limits, allow_connections

_BACKLOG = 2048
_LOOK_S = 0.02
_ACCEPTED_AT_ONCE = 16
"""The loop takes one connection a turn from each socket; a turn may be a call of the model long."""


class Listener:
    """Serves an app on sockets; made and used in the thread of a running event loop."""

    def __init__(self, app: App, limits: Limits, *, sockets: Sequence[socket.socket]) -> None:
        """The sockets are the listener's from now on; other processes may hold them too.

        None of these may make them blocking (`socket.dup` does): that flag is shared by all.
        """
        self._crowd = Crowd(app, limits, most=allow_connections(limits.connections))
        self._sockets = tuple(sockets)
        self._servers: list[asyncio.Server] = []

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._crowd.members)

    @property
    def busy(self) -> int:
        """Those whose request is read or answered."""
        return len(self._crowd.members) - len(self._crowd.idle)

    async def start(self) -> None:
        """Begin to take connections."""
        self._crowd.sweep()
        for one in [twin for sock in self._sockets for twin in _twins(sock)]:
            server = await self._crowd.loop.create_server(
                lambda: Connection(self._crowd), sock=one, backlog=_BACKLOG
            )
            self._servers.append(server)

    def stop_accepting(self) -> None:
        """Leave new connections to whoever else listens on the sockets; answers still go out."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, grace_s: float, *, idle_s: float = 1.0) -> None:
        """Let each connection have one more answer, then end it; all end after `grace_s`.

        A connection that idles is ended after `idle_s`: whoever asks on it until then has an
        answer that says that it is the last.
        """
        self.stop_accepting()
        crowd = self._crowd
        crowd.is_draining = True
        began = time.monotonic()
        while crowd.members and time.monotonic() - began < grace_s:
            if time.monotonic() - began >= min(idle_s, grace_s / 2):
                crowd.retire(lambda _: True)
            await asyncio.sleep(_LOOK_S)
        crowd.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # the transports close in the loop's next turn


def _twins(sock: socket.socket) -> list[socket.socket]:
    """The socket, and others that take connections from the same queue."""
    # Not sock.dup(), which would make all of them blocking.
    more = [socket.socket(fileno=os.dup(sock.fileno())) for _ in range(_ACCEPTED_AT_ONCE - 1)]
    return [sock, *more]
