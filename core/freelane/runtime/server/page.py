"""The page at /docs: one file, no network but the endpoint itself."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from freelane.runtime.server.exchange import Header

KIND = "text/html; charset=utf-8"
_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


@cache
def body() -> bytes:
    """The page."""
    return files("freelane.runtime.server").joinpath("page.html").read_bytes()


@cache
def headers() -> Sequence[Header]:
    """What a browser may do with it: run its own script, ask this endpoint, nothing else."""
    hashes = {"style": "", "script": ""}
    for kind, text in _INLINE.findall(body()):
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        hashes[kind.decode()] += f" 'sha256-{digest}'"
    policy = (
        f"default-src 'none'; style-src{hashes['style']}; script-src{hashes['script']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return (
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
    )
