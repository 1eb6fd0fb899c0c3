"""Server-sent events, both ways: `data:` lines, an empty line after each event."""

import json
import re

_ANY_BREAK = re.compile(rb"\r\n|\n|\r")
LARGEST_EVENT = 4 * 2**20
"""Bytes; a longer one is a broken peer."""
KIND = "text/event-stream"


class EventRefused(ValueError):
    """The peer sent what is no stream of events."""


def event(data: bytes, *, end: bytes = b"\n\n") -> bytes:
    """One event; `data` has no line breaks, as compact JSON has none."""
    return b"data: " + data + end


def quoted(text: str) -> bytes:
    """A JSON string that stays one line for every reader.

    Some readers, httpx among them, break lines at U+2028, U+2029 and U+0085 too, which JSON may
    hold as they are: so everything beyond ASCII is escaped.
    """
    return json.dumps(text).encode("ascii")


class Events:
    """Takes bytes as they come, gives the data of whole events."""

    def __init__(self, *, largest: int = LARGEST_EVENT) -> None:
        self._largest = largest
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that is whole by now; comments and other fields are left out.

        Raises:
            EventRefused: An event is larger than `largest`.
        """
        found: list[bytes] = []
        if not data:
            return found
        if self._after_return and data.startswith(b"\n"):  # the other half of a line break
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        self._rest += data
        if b"\n" in data or b"\r" in data:
            *lines, rest = _ANY_BREAK.split(bytes(self._rest))
            self._rest = bytearray(rest)
            for line in lines:
                self._take(line, found)
        if self._size + len(self._rest) > self._largest:
            raise EventRefused(f"an event of more than {self._largest} bytes")
        return found

    def _take(self, line: bytes, found: list[bytes]) -> None:
        if not line:
            if self._data:
                found.append(b"\n".join(self._data))
            self._data, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
