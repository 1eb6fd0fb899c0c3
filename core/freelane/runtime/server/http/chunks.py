"""A body that comes in chunks."""

import re

from freelane.runtime.portable.problems import BadRequest, TooLarge
from freelane.runtime.server.http.limits import LARGEST_CHUNK_HEAD, LARGEST_HEAD, MOST_CHUNKS

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e]{0,256})?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_UNKNOWN = -1


class Chunks:
    """Takes what has come of a body, gives the body once it is whole."""

    __slots__ = ("_body", "_count", "_largest", "_need", "_trailers")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._body = bytearray()
        self._count = 0
        self._need = _UNKNOWN
        self._trailers = _UNKNOWN
        """Bytes of trailers; unknown before the last chunk."""

    def take(self, rest: bytearray) -> bytes | None:
        """Take what belongs to the body from the front of `rest`; the body, or None so far.

        Raises:
            BadRequest: It is none in chunks.
            TooLarge: It is larger than what is taken, or comes in too many pieces.
        """
        at = 0
        while True:
            if self._need == _UNKNOWN:
                end = rest.find(b"\r\n", at)
                if end < 0:
                    if len(rest) - at > LARGEST_CHUNK_HEAD:
                        raise BadRequest("a chunk's head is too large")
                    break
                line = bytes(rest[at:end])
                at = end + 2
                if self._trailers >= 0:
                    if not line:
                        del rest[:at]
                        return bytes(self._body)
                    self._pass_over(line)
                    continue
                self._need = self._size(line)
                if self._need == 0:
                    self._need, self._trailers = _UNKNOWN, 0
                    continue
            end = at + self._need
            if len(rest) < end + 2:
                break
            if rest[end : end + 2] != b"\r\n":
                raise BadRequest("a chunk does not end where it says")
            self._body += rest[at:end]
            at = end + 2
            self._need = _UNKNOWN
        del rest[:at]
        return None

    def _size(self, line: bytes) -> int:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadRequest("a chunk's size is no size")
        size = int(match[1], 16)
        self._count += 1
        if self._count > MOST_CHUNKS:
            raise TooLarge(f"the body comes in more than {MOST_CHUNKS} chunks")
        if len(self._body) + size > self._largest:
            raise TooLarge(f"the body is larger than {self._largest} bytes")
        return size

    def _pass_over(self, trailer: bytes) -> None:
        """Trailers say nothing here."""
        self._trailers += len(trailer)
        if self._trailers > LARGEST_HEAD or _TRAILER.fullmatch(trailer) is None:
            raise BadRequest("a trailer is malformed, or too large")
