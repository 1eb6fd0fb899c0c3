"""`Client`: everything Freelane does, for one project."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from freelane.client import diagnosis, show
from freelane.client.artifacts import Artifacts
from freelane.client.endpoints import Endpoints
from freelane.client.jobs import Jobs
from freelane.client.quota import Quotas
from freelane.client.session import Session
from freelane.clock import Clock
from freelane.config.load import Config, load
from freelane.contract.capability import Capability, Support
from freelane.contract.provider import Check
from freelane.errors import FreelaneError
from freelane.service.cleanup_report import CleanupReport
from freelane.service.sweeping import AT_MOST

if TYPE_CHECKING:
    from freelane.model.usage import PriceRow
    from freelane.registry import PluginRow
    from freelane.service.costs import CostReport
    from freelane.service.price_refresh import Refreshed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """One line of `freelane providers`."""

    name: str
    plugin: str
    summary: str
    owned: bool
    selected: bool
    problem: str | None
    """Why it cannot be used as it is; None when it can."""
    capabilities: Mapping[Capability, Support]


class Client:
    """One project, on whichever provider its configuration names.

    ```python
    from freelane import Client

    with Client() as client:
        job = client.jobs.train()
        endpoint = client.endpoints.deploy(job.artifact, ttl="30m")
        print(endpoint.predict([[0.0] * 64]).predictions)
        endpoint.delete()
    ```

    Args:
        config: The project file; by default the nearest `freelane.toml` from here upwards.
        provider: Use this configured provider for everything.
        emulated: Use the provider's emulator.
        settings: More settings, by dotted key: `{"train.max_runtime": "10m"}`.
        clock: Another clock than the machine's, for tests.
        confirm: Asks a person where the configuration says `ask`; without one that is a no.

    Raises:
        ConfigError: The configuration does not hold.
    """

    def __init__(
        self,
        *,
        config: Path | str | None = None,
        provider: str | None = None,
        emulated: bool = False,
        settings: Mapping[str, object] | None = None,
        clock: Clock | None = None,
        confirm: Callable[[str], bool] | None = None,
    ) -> None:
        flags = dict(settings or {})
        if provider is not None:
            flags["provider"] = provider
        loaded = load(file=Path(config) if config is not None else None, flags=flags)
        self._session = Session(loaded, emulated=emulated, clock=clock, confirm=confirm)
        self.jobs = Jobs(self._session)
        self.endpoints = Endpoints(self._session)
        self.artifacts = Artifacts(self._session)
        self.quota = Quotas(self._session)

    @property
    def config(self) -> Config:
        """What is configured, each value with its origin."""
        return self._session.config

    def providers(self) -> list[ProviderRow]:
        """Every provider that is installed or configured; imports none of them."""
        infos = self._session.registry.infos()
        config = self.config
        selected = config.provider_for(None)
        rows = []
        for name in sorted({*infos, *config.provider_names()}):
            plugin = config.provider_table(name).plugin
            info = infos.get(plugin)
            rows.append(
                ProviderRow(
                    name=name,
                    plugin=plugin,
                    summary=info.summary if info else "",
                    owned=bool(info and info.owned),
                    selected=name == selected,
                    problem=None if info else self._problem(plugin),
                    capabilities=dict(info.capabilities) if info else {},
                )
            )
        return rows

    def plugins(self) -> "list[PluginRow]":
        """Every installed plugin, with what is wrong with it if anything is."""
        return self._session.registry.plugins()

    def doctor(self, provider: str | None = None) -> Iterator[tuple[str, Check]]:
        """Check what Freelane and its providers need, one line each; spends nothing."""
        return diagnosis.diagnose(self._session, provider)

    def cleanup(
        self,
        *,
        delete: bool = False,
        rebuild: bool = False,
        older_than: timedelta | None = None,
        at_most: int = AT_MOST,
    ) -> CleanupReport:
        """Bring the records up to date and list what nothing wants; with `delete`, end it.

        What nothing recorded wants is listed, what is past its time, and kill switches that have
        nothing left to end; only ever with this owner's tag. With `rebuild`, a state database that
        cannot be read is first moved aside and what the providers still know is recorded anew.

        Args:
            delete: End what is listed.
            rebuild: Record anew, from the tags.
            older_than: Only what was made so long ago.
            at_most: Only so many; the report says how many are left.
        """
        session = self._session
        report = session.rebuild() if rebuild else CleanupReport()
        providers = session.reachable_providers()
        report.add(
            session.upkeep.cleanup(providers, delete=delete, older_than=older_than, at_most=at_most)
        )
        return report

    def down(
        self,
        *,
        delete: bool = False,
        older_than: timedelta | None = None,
        at_most: int = AT_MOST,
    ) -> CleanupReport:
        """List all that stands of this owner on every configured provider; with `delete`, end it.

        Args:
            delete: End what is listed: every job and endpoint of every project. Models stay.
            older_than: Only what was made so long ago.
            at_most: Only so many; the report says how many are left.
        """
        session = self._session
        return session.upkeep.down(
            session.reachable_providers(), delete=delete, older_than=older_than, at_most=at_most
        )

    def costs(self) -> "CostReport":
        """What exists at every configured provider and bills or could, ours and not ours."""
        from freelane.service.costs import CostService  # noqa: PLC0415 - only to price

        session = self._session
        service = CostService(session.workspace, session.accounting.appraisal)
        return service.costs(session.reachable_providers())

    def prices(self, provider: str | None = None) -> "list[PriceRow]":
        """What the meters of a provider cost, or of all of them, with source and date."""
        from freelane.client import prices  # noqa: PLC0415 - only to list them

        return prices.rows(self._session, provider)

    def refresh_prices(
        self, provider: str, *, region: str | None = None, url: str | None = None
    ) -> "Refreshed":
        """Read a provider's official price file and keep it beside the user's configuration.

        Args:
            provider: Its configured name.
            region: Whose prices; by default the configured one.
            url: Another copy of the file, at the provider or on this machine.
        """
        from freelane.client import prices  # noqa: PLC0415 - only to read them

        return prices.refresh(self._session, provider, region=region, url=url)

    def close(self) -> None:
        """Close connections. Jobs and endpoints go on."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.config.project.name} on {self.config.provider_for(None)}>"

    def _repr_html_(self) -> str:
        config = self.config
        fields = {
            "project": config.project.name,
            "provider": config.provider_for(None),
            "file": str(config.file) if config.file else "none",
        }
        return show.card("Freelane", fields)

    def _problem(self, plugin: str) -> str:
        try:
            self._session.registry.info(plugin)
        except FreelaneError as error:
            return error.message
        return ""
