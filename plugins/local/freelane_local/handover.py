"""Hands a running supervisor the secrets of a new revision: through a pipe, in no file.

The pipe is a name in the endpoint's folder, for this user only. What is written to it lies in the
kernel until the supervisor, which always holds it open, has read it.
"""

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from freelane.errors import StateError

_LONGEST_BYTES = 2**20
_CHUNK_BYTES = 65_536
_WAIT_S = 5.0


class Inbox:
    """The supervisor's end."""

    def __init__(self, path: Path) -> None:
        """Make the pipe.

        Raises:
            OSError: It cannot be made.
        """
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Also a writer itself: so it never sees the end of the file.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def messages(self) -> Iterator[tuple[int, dict[str, str]]]:
        """What has come by now: the number of a revision, its variables."""
        while True:
            try:
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_LONGEST_BYTES:]
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    document = json.loads(line)
                    values = {str(name): str(text) for name, text in document["env"].items()}
                    yield int(document["revision"]), values

    def close(self) -> None:
        """Let go of it; what was not read is gone."""
        os.close(self._descriptor)


def hand_over(path: Path, revision: int, env: Mapping[str, str]) -> None:
    """Give a revision's variables to the supervisor that holds the pipe.

    Raises:
        StateError: Nobody holds it, or nobody reads.
    """
    line = json.dumps({"revision": revision, "env": dict(env)}).encode() + b"\n"
    if len(line) > _LONGEST_BYTES:
        raise StateError("the secrets of [deploy] are too long to be handed over")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise StateError(f"its supervisor cannot be told: {error.strerror}") from error
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise StateError(f"{path} is no pipe; its supervisor cannot be told")
        # A line of its own first: what a killed writer began must not spoil ours.
        _write(descriptor, b"\n" + line)
    finally:
        os.close(descriptor)


def _write(descriptor: int, left: bytes) -> None:
    give_up = time.monotonic() + _WAIT_S
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise StateError("its supervisor does not read what it is told") from None
            time.sleep(0.02)
