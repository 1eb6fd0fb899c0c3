"""Who may ask: Host and Origin by allow-list, and the endpoint's token."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .problems import BadRequest, Forbidden, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
SHORTEST_TOKEN = 16
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_SIGV4 = re.compile(r"AWS4-HMAC-SHA256 +Credential=(?P<key>[^/,\s]+)/")


@dataclass(frozen=True)
class Access:
    """What is allowed in."""

    hosts: frozenset[str] = LOOPBACK
    """Names without a port, in lower case; `*` is any, for a container behind a provider."""
    token: str | None = None
    """None asks for none: the provider in front of the container does."""

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse what a foreign page, or a name that was rebound to this address, sends.

        Raises:
            BadRequest: The Host is no host.
            Forbidden: The Host or the Origin is not one of ours.
        """
        host = headers.get("host", "")
        match = _AUTHORITY.fullmatch(host)
        if match is None:
            raise BadRequest("the Host header is no host name")
        if "*" not in self.hosts and match["host"].lower() not in self.hosts:
            raise Forbidden("this Host is not served here")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {
            f"http://{host.lower()}",
            f"https://{host.lower()}",
        }:
            raise Forbidden("pages of another origin may not call this endpoint")

    def check_token(self, headers: Mapping[str, str]) -> None:
        """The token comes as Bearer, as x-goog-api-key or as a SigV4 access key id.

        Raises:
            Unauthenticated: It does not come, or is another.
        """
        if self.token is None:
            return
        given = headers.get("x-goog-api-key", "")
        authorization = headers.get("authorization", "")
        signed = _SIGV4.match(authorization)
        if signed:
            given = signed["key"]
        elif authorization[:7].lower() == "bearer ":
            given = authorization[7:].strip()
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode("utf-8")):
            raise Unauthenticated("this endpoint needs its token")
