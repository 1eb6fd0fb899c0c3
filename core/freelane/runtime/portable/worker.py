"""`work`: loads the model, then answers what the server asks over a stream socket, to its end.

One thread runs the model; the channel is looked at between two calls, and between two items of a
stream. The server ends a worker by closing the channel or by CLOSE; SIGTERM and SIGINT, which a
terminal or a supervisor sends to the whole group, would take the answers from callers whom the
server still serves, so they do nothing here.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import socket
import sys
import threading
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Callable

from . import deaf, frames, loading, problems
from .desk import Desk
from .frames import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .desk import Items
    from .task import ServingTask

_ROWS, _REPLY = Kind.ROWS, Kind.REPLY  # a member is slow to come by
_HIGH_FDS = (900, 200, 30)
"""Where user code that closes, or counts on, low descriptors does not come across the channel."""
_READ_BYTES = 1 << 16
"""At a time; memory for more costs more each time than the rest of a small call's reading."""
_ORPHAN_GRACE_S = 5.0


class _Ended(Exception):
    """The server is gone, or wants no more."""


def run(folder: Path, task: ServingTask, environ: Mapping[str, str], descriptor: int) -> int:
    """Work to the end; answers the exit code, 3 where the model could not be loaded."""
    channel = _channel(descriptor)
    os.register_at_fork(after_in_child=channel.close)  # the server waits for the last end to close
    threading.Thread(target=_outlive, args=(channel.fileno(),), daemon=True).start()
    deaf.be_deaf()
    deaf.let_forks_hear()
    try:
        desk = Desk(loading.load(folder, task, loading.model_of(environ)))
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
        reason = loading.reason_of(error)
        sys.stderr.write(f"freelane: {reason}\n")
        with contextlib.suppress(OSError):
            channel.sendall(frames.frame(Kind.FAILED, 0, json.dumps({"error": reason}).encode()))
        return loading.FAILED
    gc.freeze()  # what is loaded stays: looking at it anew would hold up a call now and then
    deaf.be_deaf()  # what the user's code imports may have set others
    with contextlib.suppress(_Ended):
        Worker(desk, channel).work()
    return 0


class Worker:
    """Answers frames, one call at a time, in the order in which they come."""

    def __init__(self, desk: Desk, channel: socket.socket) -> None:
        self._desk = desk
        self._channel = channel
        self._reader = frames.Reader()
        self._waiting: deque[tuple[Kind, int, bytes]] = deque()
        self._hello: frames.Hello | None = None
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._streams: dict[Kind, Callable[[bytes], Items]] = {
            Kind.STREAM: desk.stream,
            Kind.GENERATE: desk.generate,
        }
        self._wholes: dict[Kind, Callable[[bytes], bytes]] = {
            Kind.INVOKE: desk.invoke,
            Kind.EMBED: desk.embed,
            Kind.COUNT: desk.count,
        }

    def work(self) -> None:
        """Answer until the channel ends.

        Raises:
            _Ended: It has.
        """
        self._greet()
        while True:
            while not self._waiting:
                self._receive()
            kind, call, payload = self._waiting.popleft()
            if kind is _ROWS:
                replies = self._desk.rows(payload)
                self._greet()
                self._send(_REPLY, call, frames.pack_replies(replies))
            elif kind in self._wholes:
                self._whole(kind, call, payload)
            elif kind in self._streams:
                self._stream(kind, call, payload)
            elif kind is Kind.CLOSE:
                raise _Ended
            # CANCEL: the call was answered before it came.

    def _greet(self) -> None:
        """Say what the model is able to do, and again when its answers have shown otherwise."""
        hello = self._desk.hello
        if hello is not self._hello:
            self._hello = hello
            self._send(Kind.HELLO, 0, json.dumps(asdict(hello)).encode())

    def _whole(self, kind: Kind, call: int, payload: bytes) -> None:
        try:
            reply = self._wholes[kind](payload)
        except problems.Problem as problem:
            self._send(Kind.PROBLEM, call, problems.write(problem))
        else:
            self._send(Kind.REPLY, call, reply)

    def _stream(self, kind: Kind, call: int, payload: bytes) -> None:
        items = self._streams[kind](payload)
        try:
            for item in items:
                self._send(Kind.ITEM, call, item)
                if self._is_cancelled(call):
                    break
        except problems.Problem as problem:
            self._send(Kind.PROBLEM, call, problems.write(problem))
        else:
            items.close()
            self._send(Kind.END, call, items.end)

    def _is_cancelled(self, call: int) -> bool:
        while self._poll.poll(0):
            self._receive()
        return any(kind is Kind.CANCEL and of == call for kind, of, _ in self._waiting)

    def _receive(self) -> None:
        try:
            data = self._channel.recv(_READ_BYTES)
            self._waiting.extend(self._reader.feed(data))
        except (OSError, frames.FrameError) as error:
            raise _Ended from error
        if not data:
            raise _Ended

    def _send(self, kind: Kind, call: int, payload: bytes) -> None:
        if len(payload) > frames.LARGEST_FRAME:
            size = f"{len(payload) >> 20} MiB, more than {frames.LARGEST_FRAME >> 20}"
            problem = problems.ModelError(f"the model's answer is {size}")
            kind, payload = Kind.PROBLEM, problems.write(problem)
        try:
            self._channel.sendall(frames.frame(kind, call, payload))
        except OSError as error:
            raise _Ended from error


def _channel(descriptor: int) -> socket.socket:
    """The channel under a high number, for this process alone: not for those it starts."""
    for number in _HIGH_FDS:
        try:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number)
        except OSError:  # fewer descriptors are allowed
            continue
        os.close(descriptor)
        return socket.socket(fileno=moved)
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - it is the function's own
    return socket.socket(fileno=descriptor)


def _outlive(descriptor: int) -> None:
    """Once the server is gone a call that goes on and on is for nobody: a while later, end."""
    poll = select.poll()
    poll.register(descriptor, 0)  # hang-ups alone
    poll.poll()
    threading.Event().wait(_ORPHAN_GRACE_S)
    os._exit(0)
