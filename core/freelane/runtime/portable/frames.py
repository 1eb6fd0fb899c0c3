"""What a server and a worker say to each other over a stream socket: framed bytes, never a pickle.

A frame is its payload's length, its kind, the call that it is about, then the payload:

    server -> worker
    ROWS      count, then of each request its number of rows (u32 each), the length of the
              parameters and those (JSON object, or nothing), then all rows as one JSON array
    INVOKE    length of a JSON head {"content_type", "accept"}, that head, the raw body
    STREAM    {"instances": [...], "parameters": {...}}: answered item by item
    GENERATE  {"messages": [{"role", "content"}], "prompt": str | null, "parameters": {...}}:
              answered item by item, each a piece of text
    EMBED     {"texts": [...], "parameters": {...}}: answered by a JSON array of vectors
    COUNT     {"texts": [...]}: answered by {"tokens": n}
    CANCEL    nobody waits for the call any more; a stream ends, anything else is answered
    CLOSE     end, exit code 0

    worker -> server
    HELLO     when the model is loaded; see `Hello`. Again, before a reply, should that reply show
              that rows of several requests cannot be one call after all
    FAILED    instead: {"error": reason}; the worker then exits with 3
    REPLY     ROWS: of each request a byte (1: a document, 0: a problem), its length, the bytes;
              the document is the whole {"predictions": [...]}.
              INVOKE: length of a JSON head {"content_type"}, that head, the body.
              EMBED, COUNT: the JSON.
    ITEM      one item of a stream, as JSON
    END       the stream is over: {"usage": {"input_tokens", "output_tokens"}} where it is known,
              and of a model that `limits` {"finish": "length"} where max_tokens ended it
    PROBLEM   the whole call has failed: {"status", "type", "message", "headers", "details"}
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

LARGEST_FRAME = 256 * 2**20
"""A longer one is a broken peer: its connection ends."""
_HEAD = struct.Struct("!IBI")
HEAD_BYTES = _HEAD.size
_NUMBER = struct.Struct("!I")
_ONE = struct.Struct("!III")
_REPLY_HEAD = struct.Struct("!BI")


class Kind(IntEnum):
    """What a frame is."""

    ROWS = 1
    INVOKE = 2
    STREAM = 3
    GENERATE = 4
    EMBED = 5
    COUNT = 6
    CANCEL = 7
    CLOSE = 8
    HELLO = 16
    FAILED = 17
    REPLY = 18
    ITEM = 19
    END = 20
    PROBLEM = 21


@dataclass(frozen=True)
class Hello:
    """What a loaded model is able to do; as a JSON object in HELLO."""

    style: str
    """native, sagemaker or predictor."""
    batches: bool
    """Whether rows of several requests may be one call of it."""
    streams: bool
    """Whether its predict is a generator function."""
    generates: bool
    """Whether it answers GENERATE: a `generate`, or a predict that streams or takes messages."""
    embeds: bool
    counts: bool
    """Whether it has a count_tokens of its own."""
    limits: bool = False
    """Whether it ends a text at max_tokens and stop sequences itself, as an engine does."""


_KINDS = {kind.value: kind for kind in Kind}


class FrameError(Exception):
    """The peer sent what is no frame."""


def frame(kind: Kind, call: int, *payload: bytes) -> bytes:
    """The bytes of one frame whose payload are the pieces, joined."""
    size = sum(map(len, payload))
    return b"".join((_HEAD.pack(size, kind, call), *payload))


class Reader:
    """Takes bytes as they come, gives whole frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, int, bytes]]:
        """The frames that are whole by now: kind, call, payload.

        Raises:
            FrameError: It is none, or larger than LARGEST_FRAME.
        """
        rest = self._rest
        if not rest and len(data) >= HEAD_BYTES:  # most often it is one frame, whole
            size, number, call = _HEAD.unpack_from(data)
            if len(data) == HEAD_BYTES + size and number in _KINDS:
                return [(_KINDS[number], call, data[HEAD_BYTES:])]
        rest += data
        found: list[tuple[Kind, int, bytes]] = []
        start = 0
        while len(rest) - start >= HEAD_BYTES:
            size, number, call = _HEAD.unpack_from(rest, start)
            if size > LARGEST_FRAME:
                raise FrameError(f"a frame of {size} bytes")
            end = start + HEAD_BYTES + size
            if len(rest) < end:
                break
            kind = _KINDS.get(number)
            if kind is None:
                raise FrameError(f"a frame of the unknown kind {number}")
            found.append((kind, call, bytes(rest[start + HEAD_BYTES : end])))
            start = end
        del rest[:start]
        return found


def pack_rows(counts: list[int], parameters: bytes, rows: bytes) -> bytes:
    """The payload of ROWS; `rows` is the JSON array of all rows."""
    if len(counts) == 1:  # as most are where time counts most: with one caller
        return _ONE.pack(1, counts[0], len(parameters)) + parameters + rows
    sizes = struct.pack(f"!I{len(counts)}II", len(counts), *counts, len(parameters))
    return b"".join((sizes, parameters, rows))


def unpack_rows(payload: bytes) -> tuple[list[int], bytes, bytes]:
    """Number of rows of each request, the parameters, the JSON array of all rows."""
    (count,) = _NUMBER.unpack_from(payload)
    if count == 1:
        _, rows, size = _ONE.unpack_from(payload)
        start = _ONE.size + size
        return [rows], payload[_ONE.size : start], payload[start:]
    *counts, size = struct.unpack_from(f"!{count}II", payload, 4)
    start = 8 + 4 * count
    return list(counts), payload[start : start + size], payload[start + size :]


def pack_replies(replies: list[tuple[bool, bytes]]) -> bytes:
    """The payload that answers ROWS: of each request whether it is a document, and the bytes."""
    if len(replies) == 1:
        ((is_document, data),) = replies
        return _REPLY_HEAD.pack(is_document, len(data)) + data
    pieces = []
    for is_document, data in replies:
        pieces += [_REPLY_HEAD.pack(is_document, len(data)), data]
    return b"".join(pieces)


def unpack_replies(payload: bytes) -> list[tuple[bool, bytes]]:
    """Its opposite."""
    found = []
    start = 0
    while start < len(payload):
        is_document, size = _REPLY_HEAD.unpack_from(payload, start)
        found.append((bool(is_document), payload[start + 5 : start + 5 + size]))
        start += 5 + size
    return found


def pack_body(head: bytes, body: bytes) -> bytes:
    """A JSON head before a raw body."""
    return _NUMBER.pack(len(head)) + head + body


def unpack_body(payload: bytes) -> tuple[bytes, bytes]:
    """Its opposite."""
    (size,) = _NUMBER.unpack_from(payload)
    return payload[4 : 4 + size], payload[4 + size :]
