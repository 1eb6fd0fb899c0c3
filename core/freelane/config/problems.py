"""What pydantic found wrong, in one line for a person: where, which key, what to do."""

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from freelane.config.document import prefix_of
from freelane.config.origins import KeyPath, Layer, Origin, dotted
from freelane.config.schema import keys_at
from freelane.errors import ConfigError

_NEAR = 0.6
_EXPECTED = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a table",
    "mapping": "a table",
    "model": "a table",
    "dataclass": "a table",
}

_KINDS: dict[type, str] = {  # in this order: a bool is an int
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "a table",
    list: "a list",
}


def explain(
    error: ValidationError,
    *,
    model: type[BaseModel],
    origin: Callable[[KeyPath], Origin],
    at: tuple[str, ...] = (),
    beside: Sequence[str] = (),
) -> ConfigError:
    """The first problem of `error` as ours; `at` is where `model` stands in the configuration.

    `beside` are keys that the table at `at` may hold and `model` does not read.

    An unknown key comes before whatever else is wrong: it is often the cause of the rest. Values
    are not repeated unless the key's own parser does: a plugin's table may hold anything.
    """
    problems = error.errors(include_url=False)
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    inner = tuple(part for part in first["loc"] if part != "[key]")
    where = origin(at + inner)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] in {"extra_forbidden", "missing"}:
        known = keys_at(model, inner[:-1])
        if known is not None and len(inner) == 1:
            known += beside
        said = _about_key(first["type"], inner, known=known, where=where, at=at)
    else:
        said = _about_value(first, at + inner, where)
    return ConfigError(_beside(where, said) + more)


def near_miss(name: str, known: Sequence[str]) -> str | None:
    """The name of `known` that `name` was most likely meant to be."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

    near = get_close_matches(name, known, n=1, cutoff=_NEAR)
    return near[0] if near else None


def table_name(path: KeyPath, where: Origin) -> str:
    """A table as its file writes it: `[train]`, or `[tool.freelane.train]` in a pyproject.toml."""
    prefix = prefix_of(where.file) if where.file is not None else ()
    return f"[{dotted(prefix + path)}]" if prefix + path else "the top level"


def _beside(where: Origin, said: str) -> str:
    return said if where.layer is Layer.DEFAULT else f"{where}: {said}"


def _about_key(
    kind: str, inner: KeyPath, *, known: list[str] | None, where: Origin, at: tuple[str, ...]
) -> str:
    key = str(inner[-1])
    table = table_name(at + inner[:-1], where)
    if kind == "missing":
        return f"{table} needs the key {key!r}"
    said = f"{table} has no key {key!r}"
    if known is None:
        return said
    near = near_miss(key, known)
    return f"{said}; did you mean {near!r}?" if near else f"{said}; it has {', '.join(known)}"


def _about_value(problem: ErrorDetails, path: KeyPath, where: Origin) -> str:
    kind = problem["type"]
    # A variable or a flag names its key already.
    key = dotted(path) if where.file is not None or where.layer is Layer.DEFAULT else ""
    said = problem["msg"]
    expected = _EXPECTED.get(kind.split("_")[0])
    if kind in {"enum", "literal_error"}:
        said = f"should be {problem['ctx']['expected']}"
    elif kind == "value_error":
        said = str(problem["ctx"]["error"])
    elif expected is not None and kind.endswith(("_type", "_parsing", "_attributes_type")):
        said = f"should be {expected}, not {_kind(problem['input'])}"
    elif said.startswith("Input should"):
        said = said.removeprefix("Input ")
    if not key:
        return said
    return f"{key} {said}" if said.startswith("should ") else f"{key}: {said}"


def _kind(value: object) -> str:
    for type_, name in _KINDS.items():
        if isinstance(value, type_):
            return name
    return "a date or time" if hasattr(value, "isoformat") else "this"
