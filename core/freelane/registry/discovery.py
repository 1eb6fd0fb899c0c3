"""From entry points to declarations, one plugin at a time.

A plugin that breaks the contract is quarantined with its reason, and the others work on. Only the
plugin's own module is imported, which declares and does nothing else.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata

import pluggy

from freelane.contract import hookspecs
from freelane.contract.capability import Capability, Support
from freelane.contract.provider import CONTRACT_VERSION, ProviderInfo
from freelane.errors import ConfigError
from freelane.model.name import check_name

GROUP = "freelane"
ALLOW_LIST = "FREELANE_PLUGINS"
HOME = "freelane"
"""The distribution that no other may displace."""


class PluginState(StrEnum):
    """What became of an entry point, or of a name in FREELANE_PLUGINS."""

    LOADED = "loaded"
    QUARANTINED = "quarantined"
    NOT_ALLOWED = "not allowed"
    """Installed, and FREELANE_PLUGINS does not list it: never imported."""
    NOT_INSTALLED = "not installed"
    """FREELANE_PLUGINS lists it, and no distribution brings it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRow:
    """One line of `freelane plugins`."""

    entry_point: str
    distribution: str
    """Empty for a name that no distribution brings."""
    version: str
    state: PluginState
    providers: tuple[str, ...] = ()
    """The names that it declares, sorted; a quarantined plugin's cannot be used."""
    reason: str | None = None
    """Why it is not loaded, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A plugin that does not keep the contract."""

    distribution: str
    version: str
    entry_point: str
    reason: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point and what it declares, however it went."""

    row: PluginRow
    infos: tuple[ProviderInfo, ...] = ()

    @property
    def loaded(self) -> bool:
        """Whether its providers may be used."""
        return self.row.state is PluginState.LOADED

    def quarantine(self, reason: str) -> "Plugin":
        """The same plugin, kept out."""
        return replace(
            self, row=replace(self.row, state=PluginState.QUARANTINED, reason=one_line(reason))
        )


def discover(allowed: frozenset[str] | None) -> list[Plugin]:
    """Every plugin there is, sorted by distribution, so that no order of installing matters.

    Args:
        allowed: The entry points that may be imported; None allows all of them.
    """
    points = sorted(_entry_points(), key=lambda p: (_brought_by(p)[0], p.name))
    plugins = [
        _load(point, keep_out=_entry_point_clash(point, points))
        if allowed is None or point.name in allowed
        else Plugin(_row(point, PluginState.NOT_ALLOWED, f"{ALLOW_LIST} does not list it"))
        for point in points
    ]
    missing = sorted((allowed or frozenset()) - {point.name for point in points})
    return _without_doubles(plugins) + [Plugin(_missing(name)) for name in missing]


def _entry_points() -> Sequence[metadata.EntryPoint]:
    """The group's entry points, also where some distribution's metadata cannot be read."""
    try:
        return tuple(metadata.entry_points(group=GROUP))
    except Exception:  # noqa: BLE001 - one damaged file of any distribution raises anything
        found: dict[str, metadata.EntryPoints] = {}
        for distribution in metadata.distributions():
            with contextlib.suppress(Exception):
                # The first on the path is the one that is imported.
                found.setdefault(distribution.name, distribution.entry_points.select(group=GROUP))
        return [point for points in found.values() for point in points]


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """What third-party code prints while it loads goes to stderr; stdout belongs to `--json`."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def one_line(text: object, longest: int = 300) -> str:
    """The text as one line for a person."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[:longest] + "..."


def _load(point: metadata.EntryPoint, *, keep_out: str | None) -> Plugin:
    plugin = Plugin(_row(point, PluginState.LOADED))
    if keep_out is not None:
        return plugin.quarantine(keep_out)
    try:
        with quiet_stdout():
            declared = _declarations(point)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the others must work on
        return plugin.quarantine(f"it raised {type(error).__name__}: {error}")
    names = tuple(
        sorted(info.name for info in declared if isinstance(getattr(info, "name", None), str))
    )
    plugin = replace(plugin, row=replace(plugin.row, providers=names))
    for info in declared:
        fault = _fault(info)
        if fault is not None:
            return plugin.quarantine(fault)
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        return plugin.quarantine(f"it declares provider {doubled[0]!r} twice")
    return replace(plugin, infos=tuple(declared))


def _declarations(point: metadata.EntryPoint) -> Sequence[ProviderInfo]:
    """Import the plugin and call its one hook; a manager of its own keeps its faults its own."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    answers: list[object] = manager.hook.freelane_register_providers()
    if not answers:
        raise ValueError("no freelane_register_providers hook answered")
    (answer,) = answers
    if not isinstance(answer, list | tuple):
        raise TypeError(f"freelane_register_providers answered {kind(answer)}, not a list")
    return answer


def _fault(info: object) -> str | None:
    """Why a declaration does not hold; None when it does."""
    if not isinstance(info, ProviderInfo):
        return f"its hook declared {kind(info)} where a ProviderInfo belongs"
    capabilities: object = info.capabilities  # a plugin need not keep to the types
    if info.contract != CONTRACT_VERSION:
        return (
            f"it declares contract version {info.contract!r}; this Freelane speaks version "
            f"{CONTRACT_VERSION}"
        )
    if (fault := _name_fault(info.name)) is not None:
        return fault
    if not isinstance(capabilities, Mapping) or not all(
        isinstance(capability, Capability) and isinstance(support, Support)
        for capability, support in capabilities.items()
    ):
        return f"provider {info.name!r}: capabilities is not a mapping of Capability to Support"
    paths = {"config": info.config, "factory": info.factory}
    if info.checks is not None:
        paths["checks"] = info.checks
    for member, path in paths.items():
        if not _is_path(path):
            return f"provider {info.name!r}: {member} {path!r} is not a module:attribute path"
    return None


def _name_fault(name: object) -> str | None:
    if not isinstance(name, str):
        return f"a provider's name is {kind(name)}, not a text"
    try:
        check_name(name, what="provider")
    except ConfigError as error:
        return error.message
    return None


def _is_path(path: object) -> bool:
    if not isinstance(path, str):
        return False
    module, colon, attribute = path.partition(":")
    return bool(colon) and all(
        part.isidentifier() for part in [*module.split("."), *attribute.split(".")]
    )


def _entry_point_clash(
    point: metadata.EntryPoint, points: Sequence[metadata.EntryPoint]
) -> str | None:
    """Why a doubled entry point may not be imported: the allow-list could not tell the two apart.

    Freelane's own stand against every double; two others keep each other out.
    """
    home = _brought_by(point)[0] == HOME
    rivals = [p for p in points if p.name == point.name and _brought_by(p) != _brought_by(point)]
    if home or not rivals:
        return None
    names = ", ".join(sorted({_brought_by(rival)[0] for rival in rivals}))
    return f"entry point {point.name!r} is also that of {names}"


def _without_doubles(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Quarantine every plugin that doubles a name; Freelane's own providers are never displaced."""
    own = {  # the entry points too: a home plugin that is not allowed keeps its name
        name
        for plugin in plugins
        if plugin.row.distribution == HOME
        for name in (plugin.row.entry_point, *plugin.row.providers)
    }
    kept = [_unless_taken(p, own) if p.row.distribution != HOME else p for p in plugins]
    holders: dict[str, list[str]] = {}
    for plugin in kept:
        for name in plugin.row.providers if plugin.loaded else ():
            holders.setdefault(name, []).append(plugin.row.distribution)
    return [_unless_shared(plugin, holders) if plugin.loaded else plugin for plugin in kept]


def _unless_taken(plugin: Plugin, own: set[str]) -> Plugin:
    taken = own.intersection(plugin.row.providers)
    if not plugin.loaded or not taken:
        return plugin
    return plugin.quarantine(f"provider {min(taken)!r} is brought by {HOME} itself")


def _unless_shared(plugin: Plugin, holders: Mapping[str, Sequence[str]]) -> Plugin:
    for name in plugin.row.providers:
        if len(holders[name]) > 1:
            others = sorted({d for d in holders[name] if d != plugin.row.distribution})
            return plugin.quarantine(
                f"provider {name!r} is also brought by {', '.join(others) or 'itself'}"
            )
    return plugin


def _row(point: metadata.EntryPoint, state: PluginState, reason: str | None = None) -> PluginRow:
    distribution, version = _brought_by(point)
    return PluginRow(
        entry_point=point.name,
        distribution=distribution,
        version=version,
        state=state,
        reason=reason,
    )


def _missing(name: str) -> PluginRow:
    return PluginRow(
        entry_point=name,
        distribution="",
        version="",
        state=PluginState.NOT_INSTALLED,
        reason=f"{ALLOW_LIST} lists it and no installed distribution brings it",
    )


def _brought_by(point: metadata.EntryPoint) -> tuple[str, str]:
    """Distribution and version; a damaged installation may tell neither."""
    try:
        assert point.dist is not None  # noqa: S101 - it was scanned
        return point.dist.name or "unknown", point.dist.version or "unknown"
    except Exception:  # noqa: BLE001 - which one depends on the Python
        return "unknown", "unknown"


def kind(value: object) -> str:
    """What a value is, for a message: `a str`, `an int`."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
