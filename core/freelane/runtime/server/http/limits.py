"""How many callers there may be, and how long each may take."""

import resource
from dataclasses import dataclass

LARGEST_HEAD = 32 * 1024
"""Bytes of a request line and its headers."""
MOST_HEADERS = 256
MOST_CHUNKS = 100_000
"""Of one body."""
LARGEST_CHUNK_HEAD = 1024
"""Bytes of a chunk's size and what is said beside it."""
READ_AHEAD = 64 * 1024
"""Bytes that are taken of the next request while one is being answered."""
WRITE_AHEAD = 64 * 1024
"""Bytes that may wait for a caller to read; beyond them a `send` says False."""
_FILES_FOR_OTHERS = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds are totals: one byte a second gets no caller more time than none does."""

    connections: int = 16_384
    """At most; a new one ends the one that idles longest."""
    bodies: int = 512 * 2**20
    """Bytes of all bodies that are being read; beyond them, one that is not small is refused."""
    idle_s: float = 60.0
    """From an answer to the first byte of the next request."""
    head_s: float = 10.0
    body_s: float = 30.0
    write_s: float = 30.0
    """To read an answer, or of a streamed one what was sent when its caller fell behind."""
    linger_s: float = 1.0
    """To read the last answer of a connection before its end."""
    sweep_s: float = 0.25
    """How often deadlines are looked at; what a caller may have beyond them."""


def allow_connections(wanted: int) -> int:
    """How many connections this process may have of those wanted, its own files allowed for.

    The soft limit of open files is raised to that, as far as the hard one lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_FOR_OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - _FILES_FOR_OTHERS))
