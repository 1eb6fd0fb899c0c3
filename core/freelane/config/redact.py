"""Hides what must not be printed."""

import re
from collections.abc import Mapping
from datetime import date, time

HIDDEN = "***"
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:password|passwd|passphrase|secret|token|credentials?|authorization"
    r"|(?:api|access|private|secret|account)_?key|key)$",
    re.IGNORECASE,
)
# Bounded: whole log lines pass through here, and some are hostile.
_CREDENTIALS = re.compile(r"(?<=://)\S{0,1024}@")
_IN_QUERY = re.compile(
    r"([?&][^=?&#\s]{0,64}?(?:password|token|key|secret|signature)[^=?&#\s]{0,64}=)[^&#\s]*",
    re.IGNORECASE,
)


def redacted(key: str, value: object) -> object:
    """`value` fit to be printed: what a secret's key holds is hidden, and passwords in URLs."""
    if isinstance(value, Mapping):
        return {name: redacted(name, inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(key, inner) for inner in value]
    if _SECRET_KEY.search(key):
        return HIDDEN
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, str):
        return without_credentials(value)
    return value


def without_credentials(text: str) -> str:
    """`text` without passwords in URLs; most lines of a log hold none, and cost next to nothing."""
    if "://" in text:
        text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
    if "?" in text or "&" in text:
        text = _IN_QUERY.sub(rf"\1{HIDDEN}", text)
    return text
