"""Endpoints as they are recorded, and as the provider shows them now."""

from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches

from sqlalchemy import Connection

from freelane.contract.capability import Capability
from freelane.contract.provider import Deployer, Provider
from freelane.errors import ConfigError, EndpointNotReady, ResourceNotFound
from freelane.model.artifact import artifact_id
from freelane.model.endpoint import Endpoint, EndpointStatus, Revision
from freelane.model.lifecycle import EndpointState
from freelane.quota.ledger import accruals
from freelane.service.accounting import Accounting
from freelane.service.listing import look_at_each
from freelane.service.workspace import Workspace
from freelane.state import artifacts, endpoints, operations
from freelane.waiting import Deadline, backoff, poll

UP = frozenset({EndpointState.CREATING, EndpointState.READY, EndpointState.UPDATING})


class EndpointRecords:
    """Finds, lists, looks at and waits for endpoints."""

    def __init__(self, workspace: Workspace, accounting: Accounting) -> None:
        self._workspace = workspace
        self._accounting = accounting

    def get(self, provider: str | None, name: str, *, current: str) -> Endpoint:
        """The endpoint of an address; a bare name means the current provider, else the only one.

        Raises:
            ResourceNotFound: There is none.
            ConfigError: Several providers serve one of that name, and none is the current one.
        """
        workspace = self._workspace
        with workspace.store.read() as connection:
            named = endpoints.live(connection, workspace.owner, name=name)
        if provider is not None:
            named = [endpoint for endpoint in named if endpoint.provider == provider]
        elif any(endpoint.provider == current for endpoint in named):
            named = [endpoint for endpoint in named if endpoint.provider == current]
        if len(named) == 1:
            return named[0]
        address = f"{provider}/{name}" if provider else name
        if not named:
            with workspace.store.read() as connection:
                known = [endpoint.name for endpoint in endpoints.live(connection, workspace.owner)]
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else "see: freelane endpoints"
            raise ResourceNotFound(
                f"there is no endpoint {address!r}; {meant}",
                provider=provider or current,
            )
        raise ConfigError(
            f"endpoint {name!r} is served by several providers; name one of "
            + ", ".join(f"{endpoint.provider}/{endpoint.name}" for endpoint in named)
        )

    def recorded(self, provider: str, name: str) -> Endpoint | None:
        """The endpoint that holds the name at the provider, or else the last that did."""
        with self._workspace.store.read() as connection:
            return endpoints.get(
                connection, self._workspace.owner, provider, self._workspace.emulated, name
            )

    def existing(self, provider: str, name: str) -> Endpoint | None:
        """The endpoint that holds the name at the provider, as it is now; None if it is free."""
        endpoint = self.recorded(provider, name)
        if endpoint is None or endpoint.state.final:
            return None
        endpoint = self.refresh(endpoint)
        return None if endpoint.state.final else endpoint

    def live(self, *, everywhere: bool = False) -> list[Endpoint]:
        """Endpoints that are not gone, of this project or of all of the owner's, as recorded."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            return endpoints.live(
                connection, workspace.owner, project=None if everywhere else workspace.project
            )

    def glance(self, listed: list[Endpoint]) -> list[Endpoint]:
        """Each as it is now, or as it was last seen where its provider cannot be asked."""
        return look_at_each(listed, self.refresh)

    def refresh(self, endpoint: Endpoint) -> Endpoint:
        """Look at the provider and record what is seen."""
        if endpoint.handle is None:
            endpoint = self.reload(endpoint)  # whoever deploys it may have its handle by now
        if endpoint.handle is None or endpoint.state.final:
            return endpoint
        wired = self._workspace.resolve(endpoint.provider)
        status = self.deployer(wired).status(endpoint.handle, deadline=self._workspace.deadline())
        seen = self._serving(_observe(endpoint, status), status.serves)
        if not seen.state.final and self.is_over(seen):
            self._accounting.stands(seen.operation)
        if seen == endpoint:
            return seen
        with self._workspace.store.begin() as connection:
            endpoints.save(connection, self._workspace.owner, seen)
            if seen.state.final:
                ended = status.ended or self._ended(connection, seen)
                self._accounting.close(connection, seen.operation, ended)
        return seen

    def _serving(self, endpoint: Endpoint, serves: Revision | None) -> Endpoint:
        """The endpoint with what it serves now, which an update may have changed."""
        if serves is None:
            return endpoint
        owner = self._workspace.owner
        with self._workspace.store.read() as connection:
            row = operations.get(connection, owner, serves.operation)
            copies = artifacts.copies(connection, owner, serves.artifact)
        asked = row.operation.spec_hash if row is not None else endpoint.spec_hash
        now = replace(endpoint, spec_hash=asked, rate=serves.rate)
        if not copies or any(copy.id == endpoint.artifact for copy in copies):
            known = endpoint.artifact or artifact_id(endpoint.project, serves.artifact)
            return replace(now, artifact=known)
        mine = [copy for copy in copies if copy.project == endpoint.project]
        newest = (mine or copies)[-1]
        return replace(now, artifact=newest.id, job=newest.job)

    def is_over(self, endpoint: Endpoint) -> bool:
        """Whether it should be gone by now."""
        expires = endpoint.expires_at
        return expires is not None and expires <= self._workspace.clock.now()

    def _ended(self, connection: Connection, endpoint: Endpoint) -> datetime:
        """Since when it is gone where nobody tells: at the latest its kill switch ended it.

        One that has been charged past that was seen standing, or could not be looked at.
        """
        now = self._workspace.clock.now()
        accrual = accruals.get(connection, self._workspace.owner, endpoint.operation)
        charged = accrual.until if accrual is not None else now
        return min(now, max(endpoint.expires_at or now, charged))

    def wait_ready(self, endpoint: Endpoint, *, deadline: Deadline) -> Endpoint:
        """Look until it is READY.

        Raises:
            EndpointNotReady: It ended instead.
            DeadlineExceeded: It is not READY by the deadline.
        """
        seen = self.come_up(endpoint, deadline=deadline)
        if seen.state in UP:
            return seen
        raise not_ready(seen)

    def come_up(self, endpoint: Endpoint, *, deadline: Deadline) -> Endpoint:
        """Look until it is no longer CREATING, whatever it is then."""
        return poll(
            lambda: self.refresh(endpoint),
            until=lambda now: now.state is not EndpointState.CREATING,
            deadline=deadline,
            pauses=backoff(first_s=0.02, factor=1.5, longest_s=0.5, jitter=0.2),
            doing=f"the start of endpoint {endpoint.name}, which goes on",
            hint=f"freelane endpoints, freelane delete {endpoint.provider}/{endpoint.name}",
        )

    def deployer(self, provider: Provider) -> Deployer:
        """The port, or the refusal that names who has one."""
        if provider.deployer is None:
            raise self._workspace.unsupported(provider, Capability.DEPLOY)
        return provider.deployer

    def reload(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as it is recorded now."""
        with self._workspace.store.read() as connection:
            again = endpoints.made_by(connection, self._workspace.owner, endpoint.operation)
        return again or replace(endpoint, state=EndpointState.DELETED)

    def save(self, endpoint: Endpoint) -> Endpoint:
        """Record it, and return it."""
        with self._workspace.store.begin() as connection:
            endpoints.save(connection, self._workspace.owner, endpoint)
        return endpoint


def not_ready(endpoint: Endpoint) -> EndpointNotReady:
    """The error of one that ended instead of coming up."""
    address = f"{endpoint.provider}/{endpoint.name}"
    why = endpoint.reason or endpoint.detail or "it was ended while it was coming up"
    return EndpointNotReady(f"endpoint {address} is {endpoint.state}: {why}", endpoint=address)


def _observe(endpoint: Endpoint, status: EndpointStatus) -> Endpoint:
    return replace(
        endpoint,
        state=status.state,
        detail=status.detail,
        reason=status.reason or endpoint.reason,
        cause=status.cause or endpoint.cause,
        url=status.url,
        expires_at=status.expires_at or endpoint.expires_at,
        billing=status.billing,
    )
