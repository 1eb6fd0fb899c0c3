"""Keeping secrets out of what is printed."""

import os
import re
from collections.abc import Mapping
from functools import cache

HIDDEN = "***"
_SHORTEST_SECRET = 8  # below it, a value such as `true` or `1` would blank ordinary words
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_KEY", re.IGNORECASE
)
_SHAPES = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+@"  # a password in an URL
    r"|(?P<bearer>\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}",
    re.IGNORECASE,
)


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """`text` without passwords in URLs, bearer tokens and the values of secret variables."""
    pattern = _values(frozenset(secret_values(os.environ if environ is None else environ)))
    if pattern is not None:
        text = pattern.sub(HIDDEN, text)
    return _SHAPES.sub(_hide, text)


def secret_values(environ: Mapping[str, str]) -> set[str]:
    """Values of variables whose names say that they are secret."""
    return {
        value
        for name, value in environ.items()
        if len(value) >= _SHORTEST_SECRET
        and _SECRET_NAME.search(name)
        and not value.startswith(("/", "~"))  # the path of a file that holds one
    }


@cache
def _values(secrets: frozenset[str]) -> re.Pattern[str] | None:
    if not secrets:
        return None
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(re.escape(secret) for secret in longest_first))


def _hide(match: re.Match[str]) -> str:
    if match["scheme"] is not None:
        return f"{match['scheme']}{HIDDEN}@"
    return f"{match['bearer']}{HIDDEN}"
