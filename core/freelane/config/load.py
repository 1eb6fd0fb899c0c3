"""Loads the configuration: finds its files, lays the layers over each other, checks the whole."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from freelane.config import trust
from freelane.config.account import KEYS, AccountTable, account_tables
from freelane.config.document import Document, read
from freelane.config.layers import Merged, Source, leaves, merge, of_environment, of_flags
from freelane.config.origins import DEFAULT, KeyPath, Layer, Origin, dotted, show_file
from freelane.config.problems import explain, near_miss
from freelane.config.redact import redacted
from freelane.config.schema import ProjectConfig
from freelane.config.spending import spending
from freelane.errors import ConfigError
from freelane.model.endpoint import RateLimits
from freelane.model.estimate import Account
from freelane.model.operation import Verb
from freelane.model.resources import format_size
from freelane.model.spending import Spending

__all__ = ["Config", "Layer", "Origin", "ProviderTable", "default_user_file", "load"]

M = TypeVar("M", bound=BaseModel)
FILE = "freelane.toml"


@dataclass(frozen=True, slots=True)
class ProviderTable:
    """`[providers.X]`, raw: its plugin's class reads `values`."""

    name: str
    plugin: str
    """The `plugin` key, or the table's own name."""
    values: Mapping[str, object] = field(repr=False)  # may hold anything
    """Without `plugin` and the keys that core reads itself."""


@dataclass(frozen=True)
class Config:
    """The configuration as all layers make it."""

    project: ProjectConfig
    root: Path
    """The folder of the project file, to which its paths are relative; without one, where we
    stand."""
    file: Path | None
    """The project file; None where there is none."""
    user_file: Path
    """It may not exist yet."""
    environ: Mapping[str, str] = field(repr=False)
    _merged: Merged = field(repr=False)

    @property
    def database_url(self) -> SecretStr | None:
        """Where state lies; None is SQLite under the user's data folder."""
        return self.project.database_url

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """Dotted key -> where it comes from, for every key that a layer sets."""
        return {dotted(path): self._merged.origin(path) for path, _ in leaves(self._merged.values)}

    def require_project(self) -> None:
        """Refuse to go on without a project file.

        Raises:
            ConfigError: There is none.
        """
        if self.file is None:
            raise ConfigError(
                f"no {FILE} in {self.root} or above it",
                hint="freelane init DIR starts a project; --config FILE names one elsewhere",
            )

    def provider_for(self, verb: Verb | None) -> str:
        """The provider that `verb` uses; None asks for the top line's.

        The later layer wins, so `--provider` overrides `[train] provider`; within one layer the
        verb's own line wins.
        """
        if verb is None:
            return self.project.provider
        trains = verb is Verb.TRAIN
        table = self.project.train if trains else self.project.deploy
        if table is None or table.provider is None:
            return self.project.provider
        own = self._merged.origin(("train" if trains else "deploy", "provider")).layer
        top = self._merged.origin(("provider",)).layer
        return self.project.provider if top.rank > own.rank else table.provider

    def provider_names(self) -> list[str]:
        """The selected providers first, then every other one that has a table."""
        selected = [self.provider_for(verb) for verb in (None, *Verb)]
        return list(dict.fromkeys([*selected, *sorted(self.project.providers)]))

    def provider_table(self, name: str) -> ProviderTable:
        """The raw table of `name`; an empty one where there is none.

        Raises:
            ConfigError: Its `plugin` is not a text.
        """
        values = dict(self.project.providers.get(name, {}))
        plugin = values.pop("plugin", name)
        if not isinstance(plugin, str):
            origin = self._merged.origin(("providers", name, "plugin"))
            raise ConfigError(f"{origin}: providers.{name}.plugin should be a text")
        own = {key: value for key, value in values.items() if key not in KEYS}
        return ProviderTable(name, plugin, own)

    def account(self, name: str) -> Account:
        """What `[providers.X]` says of the account; nothing is known where it says nothing."""
        return self._accounts.get(name, AccountTable()).build()

    def rate(self, name: str) -> RateLimits:
        """`[providers.X] rate`: what the provider may be asked, all endpoints together."""
        return self._accounts.get(name, AccountTable()).rate

    def spending(self) -> Spending:
        """`[guard]`: the budget of the project and the user's own are two ceilings."""
        return spending(self.project.guard, self._merged)

    @property
    def quota_folder(self) -> Path:
        """Where the user's own rows of quotas lie; it may not exist."""
        return self.user_file.parent / "free_tier"

    @property
    def price_folder(self) -> Path:
        """Where the user's own prices lie; it may not exist."""
        return self.user_file.parent / "prices"

    @cached_property
    def _accounts(self) -> dict[str, AccountTable]:
        return account_tables(self._merged.values, self._merged.origin)

    def validate_table(self, table: ProviderTable, model: type[M]) -> M:
        """`table` read by its plugin's class.

        Raises:
            ConfigError: It does not hold; names the line and, for an unknown key, the nearest one.
        """
        at = ("providers", table.name)
        try:
            return model.model_validate(table.values)
        except ValidationError as error:
            # Not chained: pydantic's own text may repeat a secret.
            raise explain(
                error, model=model, origin=self._merged.origin, at=at, beside=("plugin", *KEYS)
            ) from None
        except ConfigError as error:  # a parser of the model's, used bare
            origin = self._merged.origin(at)
            raise ConfigError(f"{origin}: [{dotted(at)}]: {error.message}") from error

    def unused_tables(self, known_plugins: Collection[str]) -> list[ProviderTable]:
        """Tables whose plugin is not installed: their keys stay unchecked.

        Raises:
            ConfigError: The name of one is a near miss of a known plugin's.
        """
        unused = []
        for name in self.project.providers:
            table = self.provider_table(name)
            if table.plugin not in known_plugins:
                self.refuse_near_miss(table, known_plugins)
                unused.append(table)
        return unused

    def refuse_near_miss(self, table: ProviderTable, known_plugins: Collection[str]) -> None:
        """See that a table whose plugin is not installed is no misspelled one.

        Raises:
            ConfigError: Its plugin's name is a near miss of a known one's.
        """
        near = near_miss(table.plugin, sorted(known_plugins))
        if near is None:
            return
        path: KeyPath = ("providers", table.name, "plugin")
        said = f'did you mean {near!r}, or is plugin = "{near}" missing?'
        if "plugin" in self.project.providers[table.name]:
            said = f"did you mean {near!r}?"
        raise ConfigError(
            f"{self._merged.origin(path)}: no plugin {table.plugin!r} is installed; {said}"
        )

    def rows(self) -> list[tuple[str, object, Origin]]:
        """Every key with its value and origin, for people: secrets are hidden.

        Values are as they were written; defaults are shown too, but for empty ones.
        """
        rows = [
            (path, redacted(str(path[-1]), value), self._merged.origin(path))
            for path, value in leaves(self._merged.values)
        ]
        shown = {path for path, _, _ in rows}
        rows += [(path, value, DEFAULT) for path, value in _defaults(self.project, shown)]
        order = list(ProjectConfig.model_fields)
        rows.sort(key=lambda row: (order.index(str(row[0][0])), dotted(row[0])))
        return [(dotted(path), value, origin) for path, value, origin in rows]


def load(
    *,
    start: Path | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    user_file: Path | None = None,
) -> Config:
    """Load the configuration.

    Args:
        start: The folder from which the project file is looked for, upwards; here by default.
        file: The project file, or its folder: nothing is looked for.
        environ: The environment; the process's own by default.
        flags: Dotted key -> value; None is a flag that was not given.
        user_file: The user's file; by default the one of the platform's folder.

    Raises:
        ConfigError: A layer does not hold; names the file and line, the variable or the flag.
    """
    environ = os.environ if environ is None else environ
    user_file = user_file or default_user_file()
    start = _absolute(start or Path())
    project = _named(_absolute(file)) if file is not None else _nearest(start)
    user = _source(Layer.USER, read(user_file))
    user_values = {key: value for key, value in user.values.items() if key != "owner"}
    user = Source(Layer.USER, user_values, user.document)
    theirs = _source(Layer.PROJECT, project)
    merged = merge([user, theirs, of_environment(environ), of_flags(flags or {})])
    trust.check_project(theirs, merged, user_file=user_file)
    checked = _validated(merged)
    _check_alone(user, theirs)
    trust.check_ceiling(theirs, user)
    trust.check_accounts(theirs, user)
    account_tables(merged.values, merged.origin)
    if project is not None and not checked.name:
        raise ConfigError(f'{show_file(project.file)}: no name; add a line: name = "my-project"')
    return Config(
        project=checked,
        root=start if project is None else project.file.parent,
        file=None if project is None else project.file,
        user_file=user_file,
        environ=environ,
        _merged=merged,
    )


def default_user_file() -> Path:
    """The user's own file, in the platform's folder for configurations; it may not exist."""
    from platformdirs import user_config_path  # noqa: PLC0415 - not where the caller names a file

    return user_config_path("freelane") / "config.toml"


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    except OSError as error:
        raise ConfigError(f"the current folder is gone: {error.strerror}") from error


def _named(file: Path) -> Document:
    if file.is_dir():
        for candidate in _candidates(file):
            document = read(candidate)
            if document is not None:
                return document
        raise ConfigError(f"no {FILE} in {file}", hint=f"freelane init {file} starts a project")
    document = read(file)
    if document is not None:
        return document
    if file.exists():
        raise ConfigError(f"{show_file(file)}: has no table [tool.freelane]")
    raise ConfigError(f"no such file: {show_file(file)}")


def _nearest(start: Path) -> Document | None:
    for folder in (start, *start.parents):
        for candidate in _candidates(folder):
            document = read(candidate)
            if document is not None:
                return document
    return None


def _candidates(folder: Path) -> Iterable[Path]:
    return (folder / FILE, folder / "pyproject.toml")


def _source(layer: Layer, document: Document | None) -> Source:
    return Source(layer, {} if document is None else document.values, document)


def _validated(merged: Merged) -> ProjectConfig:
    try:
        return ProjectConfig.model_validate(merged.values)
    except ValidationError as error:
        raise explain(error, model=ProjectConfig, origin=merged.origin) from None


def _check_alone(*files: Source) -> None:
    """Check each file's `[guard]` by itself too: a later layer may hide a wrong word of it."""
    for source in files:
        guard = source.values.get("guard")
        if isinstance(guard, Mapping):
            alone = dict(guard)
            if alone.get("policy") == "budget" and "budget" not in alone:
                del alone["policy"]  # its sum may stand in another layer
            _validated(merge([Source(source.layer, {"guard": alone}, source.document)]))


def _defaults(
    model: BaseModel, shown: set[KeyPath], at: KeyPath = ()
) -> list[tuple[KeyPath, object]]:
    """Keys that no layer sets and that have a default worth showing."""
    rows: list[tuple[KeyPath, object]] = []
    for name in type(model).model_fields:
        value, path = getattr(model, name), (*at, name)
        if isinstance(value, BaseModel):
            rows += _defaults(value, shown, path)
        elif any(key[: len(path)] == path for key in shown):
            continue
        elif is_dataclass(value) and name == "replicas":
            rows += [((*path, part.name), getattr(value, part.name)) for part in fields(value)]
        elif name == "max_upload":
            rows.append((path, format_size(value)))
        elif isinstance(value, str) and value:
            rows.append((path, str(value)))
    return rows
