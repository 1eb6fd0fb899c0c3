"""Keeping secrets out of what is printed."""

import os
import re
from collections.abc import Callable, Mapping

from freelane.config.redact import HIDDEN, without_credentials

_SHORTEST_SECRET = 8  # below it, a value such as `true` or `1` would blank ordinary words
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_KEY", re.IGNORECASE
)
_SGR = r"\x1b\[[0-9;:]{0,64}m"
# What moves the cursor, names the window, fills the clipboard or turns the writing round.
_COMMANDS = re.compile(
    rf"({_SGR})"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_BEARER = re.compile(r"\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` without passwords in URLs, bearer tokens, the values of secret variables, and colour.

    Nor can it tell a terminal anything: a job's reason and its metrics are what a script wrote.
    """
    return re.sub(_SGR, "", redaction(os.environ)(text))


def redaction(environ: Mapping[str, str]) -> Callable[[str], str]:
    """`redact` for many lines, which may keep their colours: the variables are read once."""
    secrets = sorted(secret_values(environ), key=len, reverse=True)  # one may contain another
    values = re.compile("|".join(map(re.escape, secrets))) if secrets else None

    def clean(text: str) -> str:
        if values is not None:
            text = values.sub(HIDDEN, text)
        if "bearer" in text.lower():
            text = _BEARER.sub(rf"\1{HIDDEN}", text)
        if not text.isprintable():
            text = _COMMANDS.sub(r"\1", text)
        return without_credentials(text)

    return clean


def secret_values(environ: Mapping[str, str]) -> set[str]:
    """Values of variables whose names say that they are secret."""
    return {
        value
        for name, value in environ.items()
        if len(value) >= _SHORTEST_SECRET
        and _SECRET_NAME.search(name)
        and not value.startswith(("/", "~"))  # the path of a file that holds one
    }
