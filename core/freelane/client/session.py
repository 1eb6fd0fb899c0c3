"""Wires the floors below for one Client: each piece on first use, and only once."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from freelane.clock import Clock, SystemClock
from freelane.config.load import Config
from freelane.config.owner import owner_id
from freelane.contract.capability import Capability
from freelane.contract.provider import (
    Checks,
    Provider,
    ProviderContext,
    ProviderInfo,
    RateLedger,
)
from freelane.errors import (
    CapabilityUnsupported,
    ConfigError,
    FreelaneError,
    ProviderNotFound,
    ProviderUnavailable,
    StateError,
)
from freelane.model.operation import Verb
from freelane.quota.terms import Terms
from freelane.service.accounting import Accounting
from freelane.service.artifacts import ArtifactService
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.job_records import JobRecords
from freelane.service.planning import Planning
from freelane.service.serving import ServingService
from freelane.service.training import TrainingService
from freelane.service.upkeep import CleanupReport, UpkeepService
from freelane.service.workspace import Workspace
from freelane.state.operations import Holder
from freelane.store.clock import clock_of
from freelane.store.engine import Store, open_store
from freelane.store.sqlite import set_aside

if TYPE_CHECKING:
    from pydantic import BaseModel

    from freelane.registry import Registry
    from freelane.service.generation import GenerationService
    from freelane.service.prediction import PredictionService
    from freelane.service.tolls import Tolls
    from freelane.transport.http import Transport


class Session:
    """Everything one Client needs, made when it is first asked for."""

    def __init__(
        self,
        config: Config,
        *,
        emulated: bool,
        clock: Clock | None,
        confirm: Callable[[str], bool] | None = None,
    ) -> None:
        self.config = config
        self.emulated = emulated
        self._given_clock = clock
        self.clock = clock or SystemClock()
        self.folder = platformdirs.user_data_path("freelane")
        self.confirm = confirm
        self._providers: dict[str, Provider] = {}
        self._terms: dict[str, Terms] = {}
        self._store: Store | None = None
        self._close_way: Callable[[], None] = _nothing

    @cached_property
    def registry(self) -> "Registry":
        from freelane.registry import Registry  # noqa: PLC0415 - a listing asks no plugin

        return Registry(environ=self.config.environ)

    @property
    def store(self) -> Store:
        if self._store is None:
            url = self.config.database_url
            self._store = open_store(url.get_secret_value() if url else None, self.folder)
        return self._store

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(
            owner=owner_id(self.config.user_file),
            project=self.config.project.name,
            emulated=self.emulated,
            store=self.store,
            clock=self._given_clock or clock_of(self.store),
            machine=self.clock,
            resolve=self.resolve,
            unsupported=self.unsupported,
            holder=_this_process,
            is_alive=_may_be_working,
            terms=self.terms,
            spending=self.config.spending(),
            confirm=self.confirm,
        )

    @cached_property
    def accounting(self) -> Accounting:
        return Accounting(self.workspace)

    @cached_property
    def artifacts(self) -> ArtifactService:
        return ArtifactService(self.workspace)

    @cached_property
    def job_records(self) -> JobRecords:
        return JobRecords(self.workspace, self.artifacts, self.accounting)

    @cached_property
    def endpoint_records(self) -> EndpointRecords:
        return EndpointRecords(self.workspace, self.accounting)

    @cached_property
    def planning(self) -> Planning:
        return Planning(self.accounting, self.workspace.spending.policy)

    @cached_property
    def training(self) -> TrainingService:
        return TrainingService(self.workspace, self.job_records, self.accounting)

    @cached_property
    def serving(self) -> ServingService:
        return ServingService(self.workspace, self.endpoint_records, self.accounting)

    @cached_property
    def upkeep(self) -> UpkeepService:
        return UpkeepService(
            self.workspace,
            self.training,
            self.serving,
            self.job_records,
            self.endpoint_records,
            self.accounting,
        )

    @cached_property
    def prediction(self) -> "PredictionService":
        from freelane.service.prediction import PredictionService  # noqa: PLC0415 - see `_way`

        return PredictionService(self.workspace, *self._way)

    @cached_property
    def generation(self) -> "GenerationService":
        from freelane.service.generation import GenerationService  # noqa: PLC0415 - see `_way`

        return GenerationService(self.workspace, *self._way)

    @cached_property
    def _way(self) -> "tuple[Transport, Tolls]":
        """What every request to a model goes through."""
        # The transport costs more to load than everything a listing needs.
        from freelane.service.tolls import Tolls  # noqa: PLC0415
        from freelane.transport.http import Transport  # noqa: PLC0415

        transport, tolls = Transport(), Tolls(self.workspace, self.accounting)

        def close() -> None:
            tolls.close()
            transport.close()

        self._close_way = close
        return transport, tolls

    def resolve(self, name: str) -> Provider:
        """The provider of a configured name, wired once.

        Raises:
            ProviderNotFound: No plugin brings it.
            ConfigError: Its table does not hold.
        """
        if name not in self._providers:
            info, config = self.provider_config(name)
            if self.emulated:
                raise ConfigError(
                    f"{name} has no emulator; run without --emulated"
                    + (", it runs on this machine already" if info.owned else "")
                )
            self._providers[name] = self.registry.connect(info, config, self._context(name))
        return self._providers[name]

    def terms(self, name: str) -> Terms:
        """What the provider of a configured name gives and takes; asks nobody."""
        if name not in self._terms:
            from freelane.client.terms import terms_of  # noqa: PLC0415 - a listing spends nothing

            info = self.registry.info(self.config.provider_table(name).plugin)
            self._terms[name] = terms_of(self.config, name, info, emulated=self.emulated)
        return self._terms[name]

    def others(self, provider: str) -> "Iterator[tuple[Provider, BaseModel]]":
        """Every other provider that could be used as it is configured, the user's own first."""
        infos = self.registry.infos()
        names = dict.fromkeys([*self.config.provider_names(), *infos])
        ready = []
        for name in names:
            if name == provider:
                continue
            try:
                _info, table = self.provider_config(name)
                ready.append((self.resolve(name), table))
            except FreelaneError:
                continue  # what cannot be used is no alternative
        yield from sorted(ready, key=lambda found: not found[0].info.owned)

    def provider_config(self, name: str) -> "tuple[ProviderInfo, BaseModel]":
        """The declaration of a configured provider and its table, validated."""
        table = self.config.provider_table(name)
        info = self.registry.info(table.plugin)
        return info, self.config.validate_table(table, self.registry.config_class(info))

    def checks(self, name: str) -> Checks | None:
        """What `doctor` asks of a configured provider; None when it asks nothing."""
        info, config = self.provider_config(name)
        return self.registry.checks(info, config, self._context(name))

    def unsupported(self, provider: Provider, capability: Capability) -> CapabilityUnsupported:
        from freelane.registry import unsupported  # noqa: PLC0415 - see registry

        return unsupported(capability, provider.name, provider.info, self.registry.infos())

    def reachable_providers(self) -> list[str]:
        """Configured names that can be had, and those whose looker is to be told why they cannot.

        A table waits for its plugin, or for an extra, without a word, unless it is selected.
        """
        selected = {self.config.provider_for(verb) for verb in (None, *Verb)}
        names = []
        for name in self.config.provider_names():
            try:
                self.resolve(name)
            except (ProviderNotFound, ProviderUnavailable):
                if name not in selected:
                    continue
            except FreelaneError:
                pass
            names.append(name)
        return names

    def rebuild(self) -> CleanupReport:
        """Record anew what the providers still know, in a fresh store if this one is broken."""
        report = CleanupReport()
        try:
            self.store.check()
        except StateError:
            kept = set_aside(self.folder)
            self._store = None
            report.repaired.append(f"the broken state database was moved to {kept}")
            report.remarks.append(
                "what was used and held of each quota was recorded in it, and is counted from "
                "nothing again: compare with the provider's own numbers before you spend"
            )
        report.add(self.upkeep.rebuild(self.reachable_providers()))
        return report

    def close(self) -> None:
        """Close connections; the session can be used again and opens new ones."""
        self._close_way()
        for part in ("prediction", "generation", "_way"):
            self.__dict__.pop(part, None)
        if self._store is not None:
            self._store.close()

    def _context(self, name: str) -> ProviderContext:
        environ: Mapping[str, str] = self.config.environ
        return ProviderContext(
            name=name,
            owner=self.workspace.owner,
            emulated=self.emulated,
            clock=self.clock,
            folder=Path(self.folder) / name,
            environ=environ,
            rates=self._rates(),
        )

    def _rates(self) -> RateLedger:
        """Where an endpoint's server counts its rate: this very database."""
        url = self.config.database_url
        return RateLedger(
            folder=Path(self.folder),
            env={"FREELANE_DATABASE_URL": url.get_secret_value()} if url else {},
        )


def _this_process() -> Holder:
    from freelane.runtime.supervise import ProcessId  # noqa: PLC0415 - psutil, only to write

    me = ProcessId.current()
    return Holder(host=socket.gethostname(), pid=os.getpid(), started=me.started)


def _may_be_working(holder: Holder) -> bool:
    """A process of another machine cannot be looked at: it counts as working."""
    from freelane.runtime.supervise import ProcessId  # noqa: PLC0415 - psutil, only to write

    if holder.host != socket.gethostname():
        return True
    return ProcessId(holder.pid, holder.started).alive()


def _nothing() -> None:
    """Nothing is open yet."""
