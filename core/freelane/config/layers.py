"""The layers of the configuration and how they are laid over each other."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from freelane.config.document import Document, contains
from freelane.config.origins import DEFAULT, KeyPath, Layer, Origin
from freelane.config.schema import ProjectConfig
from freelane.errors import ConfigError

VARIABLE_PREFIX = "FREELANE_"
FREE_FORM = frozenset(
    {("train", "hyperparameters"), ("train", "inputs"), ("train", "env"), ("deploy", "env")}
)
"""Tables whose keys are the user's own, of one level: a dot in such a key is just a dot."""
_OWN_CASE = FREE_FORM - {("train", "inputs")}
_NEAR_VARIABLE = 0.8


@dataclass(frozen=True)
class Source:
    """One layer: its values, and what tells where each came from."""

    layer: Layer
    values: Mapping[str, object] = field(repr=False)
    document: Document | None = field(default=None, repr=False)
    names: Mapping[KeyPath, str] = field(default_factory=dict)
    """Path -> the environment variable or the flag that set it."""

    def origin(self, path: KeyPath) -> Origin:
        """Where `path`, which this source contains, stands."""
        if self.document is not None:
            return Origin(self.layer, self.document.file, self.document.line(path))
        for length in range(len(path), 0, -1):
            if path[:length] in self.names:
                return Origin(self.layer, name=self.names[path[:length]])
        # A table that several variables fill: any of them leads there.
        inside = (name for key, name in self.names.items() if key[: len(path)] == path)
        return Origin(self.layer, name=next(inside, None))


@dataclass(frozen=True)
class Merged:
    """All layers as one: mappings merged, everything else replaced by the later layer."""

    values: Mapping[str, object] = field(repr=False)
    sources: Sequence[Source]

    def source(self, path: KeyPath) -> Source | None:
        """The layer whose value at `path` counts; None where no layer has one."""
        for source in reversed(self.sources):
            if contains(source.values, path):
                return source
        return None

    def origin(self, path: KeyPath) -> Origin:
        """Where `path` comes from, or the nearest table around it; DEFAULT if no layer has it."""
        for length in range(len(path), 0, -1):
            source = self.source(path[:length])
            if source is not None:
                return source.origin(path[:length])
        return DEFAULT


def merge(sources: Sequence[Source]) -> Merged:
    """Lay `sources` over each other, the last on top."""
    values: dict[str, object] = {}
    for source in sources:
        values = _laid_over(values, source.values)
    return Merged(values, tuple(sources))


def _laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _laid_over(under if isinstance(under, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def leaves(values: Mapping[str, object], path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Every value that is not a table, with its path; an empty table is one too."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def split_key(key: str) -> tuple[str, ...]:
    """The path of a dotted key such as `train.script`.

    Raises:
        ConfigError: A part of it is empty.
    """
    parts = tuple(key.split("."))
    if len(parts) > 2 and parts[:2] in FREE_FORM:  # noqa: PLR2004 - the table's own two parts
        parts = (*parts[:2], ".".join(parts[2:]))
    if not all(parts):
        raise ConfigError(f"{key!r} is not a key: write it like train.script")
    return parts


def of_flags(flags: Mapping[str, object]) -> Source:
    """The layer of dotted keys given with a command or to Client; None is one not given.

    Raises:
        ConfigError: A key is not one, or lies within another that is not a table.
    """
    values: dict[str, object] = {}
    names: dict[KeyPath, str] = {}
    for key, value in flags.items():
        if value is not None:
            path = split_key(key)
            names[path] = key
            # A plain copy of what other code handed over, in the types that TOML has.
            values = _put(values, path, _plain(value), Origin(Layer.FLAG, name=key))
    return Source(Layer.FLAG, values, names=names)


def of_environment(environ: Mapping[str, str]) -> Source:
    """The layer of variables such as FREELANE_PROVIDERS__SAGEMAKER__REGION; empty ones are unset.

    Variables that start with FREELANE_ and name no key of the configuration are someone else's,
    unless they come close to one.

    Raises:
        ConfigError: A variable nearly names a key, or a list or table in it is not TOML.
    """
    values: dict[str, object] = {}
    names: dict[KeyPath, str] = {}
    ours = [n for n in environ if n.startswith(VARIABLE_PREFIX) and environ[n]]
    # A whole table first, then the variables that change single keys of it.
    for name in sorted(ours, key=lambda n: (n.count("__"), n)):
        path = _variable_path(name)
        if path is not None:
            names[path] = name
            origin = Origin(Layer.ENVIRONMENT, name=name)
            values = _put(values, path, _variable_value(name, path, environ[name]), origin)
    return Source(Layer.ENVIRONMENT, values, names=names)


def variable_of(path: KeyPath) -> str:
    """The environment variable that sets `path`."""
    own_case = 2 if path[:2] in _OWN_CASE else len(path)
    upper = [str(part).upper().replace("-", "_") for part in path[:own_case]]
    return VARIABLE_PREFIX + "__".join([*upper, *map(str, path[own_case:])])


def _variable_path(name: str) -> tuple[str, ...] | None:
    parts = name.removeprefix(VARIABLE_PREFIX).split("__")
    first = parts[0].lower()
    if first not in ProjectConfig.model_fields:
        near = _near_section(first)
        if near is None:
            return None
        raise ConfigError(
            f"{name}: no key of the configuration; did you mean "
            f"{VARIABLE_PREFIX}{'__'.join([near.upper(), *parts[1:]])}?"
        )
    lower = [part.lower() for part in parts]
    if tuple(lower[:2]) in _OWN_CASE:
        lower = [*lower[:2], "__".join(parts[2:])] if len(parts) > 2 else lower  # noqa: PLR2004 - as above
    elif first == "providers" and len(lower) > 1:
        lower[1] = lower[1].replace("_", "-")  # a provider's name has no underscore
    if not all(lower):
        raise ConfigError(f"{name}: a part of its name is empty; write it like FREELANE_TRAIN__ENV")
    return tuple(lower)


def _near_section(first: str) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a name that is not known

    near = get_close_matches(first, ProjectConfig.model_fields, n=1, cutoff=_NEAR_VARIABLE)
    return near[0] if near else None


def _variable_value(name: str, path: tuple[str, ...], text: str) -> object:
    """A list or table is written as TOML; anything else is text, read later by its key's type."""
    untyped = path[:2] == ("train", "hyperparameters")
    if not untyped and not text.lstrip().startswith(("[", "{")):
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        if not text.lstrip().startswith(("[", "{")):
            return text
        raise ConfigError(f"{name}: not a TOML list or table") from None
    value = document["value"]
    typed = isinstance(value, (str, int, float, list, dict)) and len(document) == 1
    return value if typed else text  # a date is no value of ours


def _put(
    values: Mapping[str, object], path: tuple[str, ...], value: object, origin: Origin
) -> dict[str, object]:
    around: object = values
    for length, part in enumerate(path[:-1], start=1):
        around = around.get(part, {}) if isinstance(around, Mapping) else {}
        if not isinstance(around, Mapping):
            raise ConfigError(f"{origin}: {'.'.join(path[:length])} is not a table")
    nested: object = value
    for part in reversed(path):
        nested = {part: nested}
    return _laid_over(values, nested) if isinstance(nested, Mapping) else dict(values)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
