"""An HTTP exchange of the data plane, as values: what to send, what came back."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request, complete with its credentials; the transport adds nothing but time-outs."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # carries a token
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
