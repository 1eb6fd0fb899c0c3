"""Reading `--data`: a JSON list of instances from a file or from standard input."""

import json
import sys
from pathlib import Path
from typing import NoReturn

from freelane.errors import ConfigError
from freelane.model.prediction import JsonValue

LARGEST_BYTES = 10_000_000
"""What an endpoint takes in one request, at most."""


def read_instances(source: str) -> list[JsonValue]:
    """The instances of the file `source`; `-` is standard input.

    Raises:
        ConfigError: It cannot be read, or is not a JSON list of at most 10 MB.
    """
    shown = "standard input" if source == "-" else source
    try:
        if source == "-":
            body = sys.stdin.buffer.read(LARGEST_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                body = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--data {shown}: {error.strerror or error}") from error
    if len(body) > LARGEST_BYTES:
        raise ConfigError(
            f"--data {shown} is larger than {LARGEST_BYTES // 1_000_000} MB, the most an endpoint "
            "takes at once; split it"
        )
    try:
        instances = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
        json.dumps(instances, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeError as error:
        raise ConfigError(f"--data {shown} is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--data {shown}:{error.lineno}: not JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"--data {shown} is nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"--data {shown}: {error}") from error
    if not isinstance(instances, list):
        raise ConfigError(
            f"--data {shown} holds {_kind(instances)}; it must be a JSON list with one item a row"
        )
    if not instances:
        raise ConfigError(f"--data {shown} is an empty list; there is nothing to predict")
    return instances


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _kind(value: object) -> str:
    match value:
        case dict():
            return "an object"
        case str():
            return "a text"
        case None | bool():
            return json.dumps(value)
    return "a number"
