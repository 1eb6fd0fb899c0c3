"""One TOML file: its values, and the line on which each of them stands."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from freelane.config.origins import KeyPath, show_file
from freelane.errors import ConfigError

LARGEST_FILE_BYTES = 2**20
"""A configuration is written by hand; a larger file is somebody's mistake or attack."""
IN_PYPROJECT = ("tool", "freelane")
_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


def prefix_of(file: Path) -> tuple[str, ...]:
    """The table of `file` that is ours: `[tool.freelane]` of a pyproject.toml, else the root."""
    return IN_PYPROJECT if file.name == "pyproject.toml" else ()


def contains(values: object, path: KeyPath) -> bool:
    """Whether there is a value at `path`."""
    for part in path:
        if isinstance(part, int):
            if not isinstance(values, list) or part >= len(values):
                return False
            values = values[part]
        else:
            if not isinstance(values, Mapping) or part not in values:
                return False
            values = values[part]
    return True


@dataclass(frozen=True)
class Document:
    """A parsed file. `values` is our table of it."""

    file: Path
    values: Mapping[str, object]
    _lines: tuple[str, ...] = field(repr=False)
    _prefixes: dict[int, Mapping[str, object] | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def line(self, path: KeyPath) -> int | None:
        """The line of `path`: the smallest prefix of the file that parses and contains it.

        None where the file has no such path. A value over several lines counts as its last line.
        """
        whole = prefix_of(self.file) + path
        low, high = 1, len(self._lines)
        found = None
        while low <= high:
            middle = (low + high) // 2
            # Inside a text or list over several lines nothing parses: go on to where it ends.
            end = next((n for n in range(middle, high + 1) if self._parse(n) is not None), None)
            if end is not None and contains(self._parse(end), whole):
                found, high = end, middle - 1
            elif end is not None:
                low = end + 1
            else:
                high = middle - 1
        return found

    def _parse(self, count: int) -> Mapping[str, object] | None:
        """The first `count` lines, or None where they are not TOML by themselves."""
        if count not in self._prefixes:
            try:
                self._prefixes[count] = tomllib.loads("\n".join(self._lines[:count]))
            except (ValueError, RecursionError):
                self._prefixes[count] = None
        return self._prefixes[count]


def read_text(file: Path) -> str | None:
    """The text of `file`; None if there is no such file.

    Raises:
        ConfigError: It cannot be read, is too large or not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{show_file(file)}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigError(f"{show_file(file)}: larger than 1 MiB, so not a configuration")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{show_file(file)}:{line}: not UTF-8 text") from error


def parse(file: Path, text: str) -> dict[str, object]:
    """The whole TOML document `text` of `file`.

    Raises:
        ConfigError: It is not TOML; names the line.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{show_file(file)}: nested too deeply") from error
    except ValueError as error:
        said = str(error)
        match = _LINE.search(said)
        line = int(match[1]) if match else max(1, len(text.splitlines()))
        said = _LINE.sub("", said).replace("(at end of document)", "").strip()
        raise ConfigError(f"{show_file(file)}:{line}: not TOML: {said}") from error


def read(file: Path) -> Document | None:
    """The document at `file`; None if there is no such file or it has no table of ours.

    Raises:
        ConfigError: It cannot be read or is not TOML.
    """
    text = read_text(file)
    # Most pyproject.toml on the way up are other people's, maybe broken: leave them unparsed.
    if text is None or (prefix_of(file) and "freelane" not in text):
        return None
    values: object = parse(file, text)
    for part in prefix_of(file):
        if not isinstance(values, Mapping) or part not in values:
            return None
        values = values[part]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{show_file(file)}: [tool.freelane] should be a table")
    # Only "\n" ends a line of TOML; splitlines would also split at others, inside texts.
    return Document(file, values, tuple(text.split("\n")))
