"""`client.quota`: what is free, used, held and left, and why."""

import builtins
import getpass
import os
import socket
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from freelane.client.session import Session
from freelane.errors import (
    FreelaneError,
    ProviderNotFound,
    ProviderUnavailable,
    ResourceNotFound,
)
from freelane.model.endpoint import Endpoint
from freelane.model.operation import Verb
from freelane.model.usage import CatalogueRow, Explanation, QuotaRow, RepairRow
from freelane.quota.terms import Terms
from freelane.quota.weighing import Payer

if TYPE_CHECKING:
    from freelane.service.quotas import QuotaService

OURS = "freelane"
"""The provider of lines that are no provider's: budgets."""


class Quotas:
    """The quotas of the configured providers; asks no provider anything."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(
        self, provider: str | None = None, *, everything: bool = False
    ) -> "builtins.list[QuotaRow]":
        """Each line in its window of now: those of the configured providers, and all with any use.

        Args:
            provider: Only this one's.
            everything: Those of every installed plugin too.

        Raises:
            ProviderNotFound: There is no such provider.
            ConfigError: A catalogue or an override does not hold.
        """
        from freelane.service.quota_lines import looked_at  # noqa: PLC0415 - most verbs ask nothing

        configured = self._terms(self._configured(provider))
        rows = self._service.rows(
            configured, self._endpoints(), everything_counted=provider is None
        )
        if provider is not None:
            return rows
        names = looked_at(configured) | {OURS}
        if everything or any(row.provider not in names for row in rows):
            # What was counted of a provider that is configured no more has its limit all the same.
            others = self._terms(self._installed())
            more = self._service.rows(others, unused=everything, everything_counted=False)
            rows = [*{row.id: row for row in (*rows, *more)}.values()]
        return sorted(rows, key=lambda row: (row.provider == OURS, row.provider, row.emulated))

    def catalog(self, provider: str | None = None) -> "builtins.list[CatalogueRow]":
        """Each row of the catalogues of all installed plugins, or of one provider."""
        names = [provider] if provider else [*self._configured(None), *self._installed()]
        return self._service.catalog(self._terms(names))

    def get(self, line: str) -> QuotaRow:
        """The line of an id of `list`, used or not.

        Raises:
            ResourceNotFound: There is no such line.
        """
        return self._service.get(line, self._everything(), self._endpoints())

    def explain(self, reference: str) -> "builtins.list[Explanation]":
        """Why something was refused or charged, line by line.

        Args:
            reference: The id of a refusal, a reservation, an operation, a job or a line; or the
                address of an endpoint.

        Raises:
            ResourceNotFound: Nothing is recorded under it.
        """
        try:
            return self._service.explain(reference, self._everything())
        except ResourceNotFound:
            operation = self._operation(reference)
            if operation is None:
                raise
        try:
            return self._service.explain(operation, self._everything())
        except ResourceNotFound:
            raise ResourceNotFound(
                f"nothing was charged or refused for {reference}", provider="freelane"
            ) from None

    def rebuild(self) -> "builtins.list[RepairRow]":
        """Count anew from the postings; what was wrong."""
        return self._service.rebuild()

    def correct(self, line: str, used: int, why: str) -> QuotaRow:
        """Set what was used of a line by hand; the only way down. Who and why are recorded.

        Raises:
            ResourceNotFound: There is no such line.
        """
        who = f"{_user()}@{socket.gethostname()}"
        return self._service.correct(line, used, who, why, self._everything(), self._endpoints())

    @cached_property
    def _service(self) -> "QuotaService":
        from freelane.service.quotas import QuotaService  # noqa: PLC0415 - most verbs ask nothing

        workspace = self._session.workspace
        payer = Payer(owner=workspace.owner, project=workspace.project, spending=workspace.spending)
        return QuotaService(store=workspace.store, clock=workspace.clock, payer=payer)

    def _configured(self, provider: str | None) -> "builtins.list[str]":
        return [provider] if provider else self._session.config.provider_names()

    def _installed(self) -> "builtins.list[str]":
        """Plugins that no configured provider is of."""
        config = self._session.config
        configured = config.provider_names()
        used = {config.provider_table(name).plugin for name in configured}
        return sorted(self._session.registry.infos().keys() - set(configured) - used)

    def _everything(self) -> "builtins.list[Terms]":
        return self._terms([*self._configured(None), *self._installed()])

    def _terms(self, names: Iterable[str]) -> "builtins.list[Terms]":
        """Of each; a table waits for its plugin without a word, unless it is the only one asked."""
        asked = [*names]
        found = []
        for name in asked:
            try:
                found.append(self._session.terms(name))
            except (ProviderNotFound, ProviderUnavailable):
                if len(asked) == 1:
                    raise
        return found

    def _endpoints(self) -> "builtins.list[Endpoint]":
        return self._session.endpoint_records.live(everywhere=True)

    def _operation(self, reference: str) -> str | None:
        """The operation of a job's id or an endpoint's address; None where it is neither."""
        session = self._session
        try:
            return session.job_records.get(reference).operation
        except FreelaneError:
            pass
        provider, _, name = reference.rpartition("/")
        current = session.config.provider_for(Verb.DEPLOY)
        try:
            return session.endpoint_records.get(provider or None, name, current=current).operation
        except FreelaneError:
            ended = session.endpoint_records.recorded(provider or current, name)
        return None if ended is None else ended.operation


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
