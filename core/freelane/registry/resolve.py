"""From a provider's name to its declaration, and from its declaration to its ports.

Nothing of a provider but its declaration is imported before it is asked for.
"""

import difflib
import importlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

from freelane.contract.capability import Capability
from freelane.contract.provider import Checks, Provider, ProviderContext, ProviderInfo
from freelane.errors import (
    CapabilityUnsupported,
    FreelaneError,
    PluginInvalid,
    ProviderNotFound,
    ProviderUnavailable,
)
from freelane.registry.discovery import (
    ALLOW_LIST,
    Plugin,
    PluginRow,
    PluginState,
    Quarantined,
    discover,
    kind,
    one_line,
    quiet_stdout,
)

if TYPE_CHECKING:
    from pydantic import BaseModel  # costs more than the whole listing of providers

_DOES: Mapping[Capability, str] = {
    Capability.TRAIN: "train",
    Capability.STOP: "stop jobs",
    Capability.LOGS: "keep logs",
    Capability.METRICS: "read metrics",
    Capability.ACCELERATOR: "offer accelerators",
    Capability.ARTIFACTS: "keep artifacts",
    Capability.DEPLOY: "deploy",
    Capability.UPDATE: "serve another model behind the same address",
    Capability.TTL: "end endpoints at their expiry",
    Capability.PREDICT: "predict",
    Capability.GENERATE: "write text",
    Capability.INVENTORY: "list what exists",
    Capability.QUOTA: "say what an operation will use",
    Capability.KILL_SWITCH: "end by itself what nobody ends",
}


class Registry:
    """The installed providers, by the name that their plugin gives them.

    Entry points are scanned once, on first use; a registry is cheap to make and to throw away.
    """

    def __init__(self, *, environ: Mapping[str, str] | None = None) -> None:
        """Read FREELANE_PLUGINS from `environ`, the process's own when it is None.

        The variable lists the entry points that may be imported, with commas between them; an
        empty text allows none, an absent one all.
        """
        listed = (os.environ if environ is None else environ).get(ALLOW_LIST)
        self._allowed = (
            None if listed is None else frozenset(n.strip() for n in listed.split(",")) - {""}
        )

    @cached_property
    def _plugins(self) -> Sequence[Plugin]:
        return discover(self._allowed)

    @cached_property
    def _infos(self) -> Mapping[str, ProviderInfo]:
        infos = (info for plugin in self._plugins if plugin.loaded for info in plugin.infos)
        return {info.name: info for info in sorted(infos, key=lambda info: info.name)}

    def infos(self) -> Mapping[str, ProviderInfo]:
        """The declaration of every provider that may be used, by name."""
        return self._infos

    def plugins(self) -> list[PluginRow]:
        """Every entry point, and every name in FREELANE_PLUGINS that is not one."""
        return [plugin.row for plugin in self._plugins]

    def quarantined(self) -> list[Quarantined]:
        """The plugins that do not keep the contract, each with its reason."""
        return [
            Quarantined(
                distribution=row.distribution,
                version=row.version,
                entry_point=row.entry_point,
                reason=row.reason or "",
            )
            for row in self.plugins()
            if row.state is PluginState.QUARANTINED
        ]

    def info(self, plugin: str) -> ProviderInfo:
        """The declaration of one provider.

        Raises:
            ProviderNotFound: No plugin brings it, or FREELANE_PLUGINS keeps its plugin out.
            PluginInvalid: The plugin that brings it is quarantined.
        """
        if plugin in self._infos:
            return self._infos[plugin]
        for row in self.plugins():
            if plugin not in {row.entry_point, *row.providers}:
                continue
            if row.state is PluginState.QUARANTINED:
                raise PluginInvalid(
                    f"provider {plugin!r} cannot be used: its plugin in {row.distribution} "
                    f"{row.version} is quarantined: {row.reason}",
                    distribution=row.distribution,
                    hint="freelane plugins",
                )
            if row.state is PluginState.NOT_ALLOWED:
                raise ProviderNotFound(
                    f"plugin {plugin!r} is installed and {ALLOW_LIST} does not list it",
                    hint=f"add {plugin} to {ALLOW_LIST}",
                )
        near = difflib.get_close_matches(plugin, self._infos, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise ProviderNotFound(
            f"no installed plugin brings a provider {plugin!r}{guess} "
            f"(installed: {', '.join(self._infos) or 'none'})",
            hint="freelane providers",
        )

    def config_class(self, info: ProviderInfo) -> "type[BaseModel]":
        """The class of the table `[providers.X]`.

        Raises:
            ProviderUnavailable: An extra that it needs is not installed.
            PluginInvalid: It cannot be loaded, or is no pydantic model.
        """
        from pydantic import BaseModel  # noqa: PLC0415 - see the top of the file

        loaded = self._load(info, info.config)
        if not (isinstance(loaded, type) and issubclass(loaded, BaseModel)):
            raise self._invalid(info, f"{info.config} is not a pydantic model")
        return loaded

    def connect(
        self, info: ProviderInfo, config: "BaseModel", context: ProviderContext
    ) -> Provider:
        """Wire the provider's ports.

        Raises:
            ProviderUnavailable: An extra that it needs is not installed.
            PluginInvalid: It cannot be loaded, or hands out something else than a Provider.
        """
        provider = self._make(info, info.factory, config, context)
        if not isinstance(provider, Provider):
            raise self._invalid(info, f"{info.factory} made {kind(provider)}, not a Provider")
        return provider

    def checks(
        self, info: ProviderInfo, config: "BaseModel", context: ProviderContext
    ) -> Checks | None:
        """What `doctor` asks of it; None when it has nothing of its own to check.

        Raises:
            ProviderUnavailable: An extra that it needs is not installed.
            PluginInvalid: It cannot be loaded, or hands out something else than Checks.
        """
        if info.checks is None:
            return None
        checks = self._make(info, info.checks, config, context)
        if not callable(getattr(checks, "run", None)):
            raise self._invalid(info, f"{info.checks} made {kind(checks)}, which cannot run")
        return cast("Checks", checks)

    def _load(self, info: ProviderInfo, path: str) -> object:
        module, _, attribute = path.partition(":")
        try:
            with quiet_stdout():
                loaded: object = importlib.import_module(module)
                for part in attribute.split("."):
                    loaded = getattr(loaded, part)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._why(info, path, error) from error
        return loaded

    def _make(
        self, info: ProviderInfo, path: str, config: "BaseModel", context: ProviderContext
    ) -> object:
        make = self._load(info, path)
        if not callable(make):
            raise self._invalid(info, f"{path} is {kind(make)}, not a function")
        try:
            with quiet_stdout():
                return make(config, context)
        except (KeyboardInterrupt, FreelaneError):
            raise
        except BaseException as error:
            raise self._why(info, path, error) from error

    def _why(self, info: ProviderInfo, path: str, error: BaseException) -> FreelaneError:
        """Ours for what went wrong: an extra to install, or a plugin to blame."""
        own = {"freelane", path.partition(":")[0].partition(".")[0]}
        if (
            isinstance(error, ImportError)
            and info.extra is not None
            and (error.name or "").partition(".")[0] not in own
        ):
            distribution = self._distribution(info)
            wanted = f"{distribution}[{info.extra}]"
            return ProviderUnavailable(
                f"provider {info.name!r} needs the extra {info.extra!r} of {distribution} "
                f"({one_line(error)})",
                extra=info.extra,
                hint=f"pip install '{wanted}'",
            )
        return self._invalid(info, f"{path} raised {type(error).__name__}: {one_line(error)}")

    def _invalid(self, info: ProviderInfo, fault: str) -> PluginInvalid:
        distribution = self._distribution(info)
        return PluginInvalid(
            f"provider {info.name!r}, brought by {distribution}, does not work: {fault}",
            distribution=distribution,
            hint=f"pip install --upgrade {distribution}",
        )

    def _distribution(self, info: ProviderInfo) -> str:
        for plugin in self._plugins:
            if plugin.loaded and info in plugin.infos:
                return plugin.row.distribution
        return info.factory.partition(".")[0]


def unsupported(
    capability: Capability, provider: str, info: ProviderInfo, others: Mapping[str, ProviderInfo]
) -> CapabilityUnsupported:
    """The refusal of what a provider does not do, naming those of `others` that do it.

    Args:
        capability: What was asked.
        provider: The configured name.
        info: Its declaration.
        others: Declarations by configured name; `provider` itself may be among them.
    """
    able = sorted(
        name
        for name, other in others.items()
        if name != provider and other.support(capability).usable
    )
    note = info.support(capability).note
    tail = f"{_and(able)} {'does' if len(able) == 1 else 'do'}" if able else "nothing here does"
    return CapabilityUnsupported(
        f"{provider} does not {_DOES[capability]}{f' ({note})' if note else ''}; {tail}",
        capability=capability.value,
        provider=provider,
        alternatives=able,
    )


def _and(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
