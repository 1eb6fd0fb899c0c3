"""Rows of a data file: TOML tables, each checked, with errors that name file, row and key."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

from freelane.errors import ConfigError

LARGEST_FILE_BYTES = 4 * 2**20
_WORDS = {
    "string_type": "should be a text",
    "int_type": "should be a whole number",
    "dict_type": "should be a table",
    "mapping_type": "should be a table",
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "frozen_set_type": "should be a list",
    "missing": "is missing",
}

R = TypeVar("R", bound="Row")


def _one_line(text: str) -> str:
    if any(not letter.isprintable() for letter in text):
        raise ValueError("should be one line of printable text")
    return text


def _written(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('should be a whole number or a text such as "50h"')  # noqa: TRY004 - pydantic's way
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError("should be 0 or more, and less than 2 to the 63rd")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Amount = Annotated[int | str, BeforeValidator(_written)]
"""Whole units, or a text that `parse_amount` reads."""
Day = Annotated[date, Field(strict=True)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*]([a-z0-9_.-]{0,62}[a-z0-9])?$")]
"""An id, a meter or an attribute: what may stand in a key of the ledger."""


class Row(BaseModel):
    """A table whose keys are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


@dataclass(frozen=True, slots=True)
class File:
    """The text of one data file, and how it is called in errors."""

    name: str
    text: str

    def fault(self, row: str, key: str, said: str) -> ConfigError:
        """What is wrong with one key of one row."""
        return ConfigError(f"{self.name}: {row}: {key + ' ' if key else ''}{said}")


def in_package(package: str) -> Iterator[File]:
    """The `*.toml` files of a package, by name.

    Raises:
        ConfigError: There is no such package, or a file cannot be read.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - whoever reads no catalogue needs none

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ConfigError(f"there is no package {package} to read")
    where = package.replace(".", "/")
    for folder in folders:
        yield from _files(Path(folder), where)


def in_folder(folder: Path) -> Iterator[File]:
    """The `*.toml` files of a folder, by name; none where there is no folder.

    Raises:
        ConfigError: A file cannot be read.
    """
    yield from _files(folder, str(folder))


def _files(folder: Path, shown: str) -> Iterator[File]:
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".toml")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from error
    for name in names:
        yield File(f"{shown}/{name}", _text(folder / name, f"{shown}/{name}"))


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigError(f"{name}: larger than 4 MiB, so no table of ours")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text") from error


def read(file: File, table: str, model: type[R], *, called: Sequence[str]) -> list[tuple[str, R]]:
    """The rows `[[table]]` of `file`, each with what it is called in errors.

    Args:
        file: The file.
        table: The name of its only array of tables.
        model: What each row is.
        called: Keys of a row that name it, such as `id`.

    Raises:
        ConfigError: It is not TOML, holds something else, or a row does not hold.
    """
    try:
        document = tomllib.loads(file.text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.name}: not TOML: {error}") from error
    others = sorted(document.keys() - {table})
    if others:
        raise ConfigError(f"{file.name}: has {others[0]!r}; it holds rows [[{table}]] and no more")
    rows = document.get(table, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{file.name}: {table} should be rows: write [[{table}]]")
    return [_row(file, table, row, number, model, called) for number, row in enumerate(rows, 1)]


def _row(
    file: File,
    table: str,
    row: Mapping[str, object],
    number: int,
    model: type[R],
    called: Sequence[str],
) -> tuple[str, R]:
    names = [str(row[key]) for key in called if isinstance(row.get(key), str)]
    name = f"{table} {'/'.join(names)!r}" if names else f"{table} number {number}"
    try:
        return name, model.model_validate(row)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        raise _fault(file, name, problems[0], model) from None


def _fault(file: File, row: str, problem: ErrorDetails, model: type[Row]) -> ConfigError:
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    key, kind, said = ".".join(path), problem["type"], problem["msg"]
    if kind == "extra_forbidden":
        from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

        near = get_close_matches(path[-1], _keys(model, path[:-1]), n=1)
        return file.fault(
            row, "", f"has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    if kind == "enum":
        said = f"should be {problem['ctx']['expected']}"
    elif kind == "value_error":
        said = str(problem["ctx"]["error"])
    else:
        said = _WORDS.get(kind, said.removeprefix("Input "))
    return file.fault(row, key, said)


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
