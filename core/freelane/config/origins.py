"""Where a value of the configuration comes from."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

KeyPath = tuple[str | int, ...]
"""The way to a value: table names and keys, and positions in lists."""


class Layer(StrEnum):
    """The five places that a value may come from; a later one wins."""

    DEFAULT = "default"
    USER = "user file"
    PROJECT = "project file"
    ENVIRONMENT = "environment"
    FLAG = "flag"

    @property
    def rank(self) -> int:
        """Its place in the order; a higher one wins."""
        return list(Layer).index(self)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value comes from; as a text it is what stands before an error."""

    layer: Layer
    file: Path | None = None
    line: int | None = None
    """Counted from 1; None where the file as a whole is meant."""
    name: str | None = None
    """The environment variable, or the dotted key of a flag."""

    def __str__(self) -> str:
        if self.file is not None:
            shown = show_file(self.file)
            return shown if self.line is None else f"{shown}:{self.line}"
        if self.layer is Layer.FLAG and self.name is not None:
            return "--provider" if self.name == "provider" else f"setting {self.name}"
        return self.name or self.layer.value


DEFAULT = Origin(Layer.DEFAULT)


def show_file(file: Path) -> str:
    """The shortest unambiguous way to write `file`: relative to here, from ~, or absolute."""
    for folder, prefix in ((_here(), ""), (os.path.expanduser("~"), "~/")):  # noqa: PTH111 - Path.home raises where there is none
        if folder and file.is_relative_to(folder) and file != Path(folder):
            return prefix + str(file.relative_to(folder))
    return str(file)


def _here() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - the same
    except OSError:  # the folder we stand in is gone
        return None


def dotted(path: KeyPath) -> str:
    """The path as people write it: `train.secrets[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
