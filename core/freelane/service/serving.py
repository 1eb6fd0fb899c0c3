"""Endpoints: intent and name, one call to the provider, record."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from sqlalchemy import Connection

from freelane.contract.capability import Capability
from freelane.contract.provider import Provider
from freelane.errors import (
    DeadlineExceeded,
    EndpointNotReady,
    FreelaneError,
    ModelFailed,
    OutcomeUnknown,
    ProviderError,
    ProviderInternal,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.artifact import Artifact
from freelane.model.endpoint import Endpoint, EndpointHandle, EndpointSpec, RateLimits
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Absent, Found, Operation, Unknown, Verb
from freelane.service import intent
from freelane.service.accounting import Accounting
from freelane.service.endpoint_records import UP, EndpointRecords, not_ready
from freelane.service.intent import Intent
from freelane.service.updating import UpdatingService
from freelane.service.workspace import Workspace
from freelane.state import endpoints, operations
from freelane.state.operations import UNFINISHED, OperationRow
from freelane.waiting import Deadline, backoff, poll

_OVER = frozenset({EndpointState.FAILED, EndpointState.DELETING, EndpointState.DELETED})


class ServingService:
    """Deploys and deletes endpoints."""

    def __init__(
        self, workspace: Workspace, records: EndpointRecords, accounting: Accounting
    ) -> None:
        self._workspace = workspace
        self._records = records
        self._accounting = accounting
        self._updating = UpdatingService(workspace, records)

    def change(self, existing: Endpoint | None, *, artifact: str, spec_hash: str) -> str:
        """What `deploy` would do where that endpoint holds the name, in the words of a plan.

        Raises:
            ResourceConflict: The name is held by something that stays.
        """
        if existing is None:
            return "create"
        is_other = self._is_other(existing, artifact=artifact, spec_hash=spec_hash)
        if existing.state is EndpointState.FAILED:
            return "create"
        if is_other:
            return "update"
        return "resume" if existing.state is EndpointState.CREATING else "nothing"

    def _is_other(self, endpoint: Endpoint, *, artifact: str, spec_hash: str) -> bool:
        """Whether it is to be updated.

        Raises:
            ResourceConflict: It is another project's, or cannot be.
        """
        if endpoint.project == self._workspace.project and self._updating.is_needed(
            endpoint, artifact=artifact, spec_hash=spec_hash
        ):
            return True
        self._check_same(endpoint, artifact=artifact)
        return False

    def _check_same(self, endpoint: Endpoint, *, artifact: str) -> None:
        """Raise unless the endpoint is this project's and serves this artifact.

        Raises:
            ResourceConflict: The name is held by something else.
        """
        address = f"{endpoint.provider}/{endpoint.name}"
        if endpoint.project != self._workspace.project:
            raise ResourceConflict(
                f"endpoint {address} belongs to project {endpoint.project!r}; "
                "choose another --name",
                provider=endpoint.provider,
                holder=endpoint.project,
            )
        if endpoint.artifact != artifact:
            raise ResourceConflict(
                f"endpoint {address} serves {endpoint.artifact}; delete it first to serve "
                f"{artifact}, or choose another --name",
                provider=endpoint.provider,
                holder=endpoint.artifact,
                hint=f"freelane delete {address}",
            )

    def deploy(
        self,
        spec: EndpointSpec,
        artifact: Artifact,
        *,
        provider: str,
        spec_hash: str,
        deadline: Deadline,
        wait: bool,
    ) -> Endpoint:
        """Have the endpoint at the provider, once, and READY if `wait`.

        The same project and artifact get the endpoint that is there; other code or another model
        takes their place in it, where the provider can do that. The name is held, and the
        operation is this process's, until it is READY or left alone.

        Raises:
            CapabilityUnsupported: The provider does not deploy.
            QuotaExceeded: It is not free, and nothing else may pay for it; or it bills while
                nobody uses it, and has no end or cannot be given one.
            ResourceConflict: The name is taken, or another process is deploying it.
            ModelFailed: The user's model did not load.
            OutcomeUnknown: The provider may or may not have the endpoint.
        """
        wired = self._workspace.resolve(provider)
        self._records.deployer(wired)
        while True:
            there = self._standing(spec.name, artifact, provider=provider, spec_hash=spec_hash)
            if there is None:
                return self._make(
                    wired, spec, artifact, spec_hash=spec_hash, deadline=deadline, wait=wait
                )
            if not self._is_other(there, artifact=artifact.id, spec_hash=spec_hash):
                self._updating.settle_left(there)
                return self._up(self._records.come_up(there, deadline=deadline)) if wait else there
            there = self._records.come_up(there, deadline=deadline)
            if there.state in UP:  # what ended instead makes room
                return self._updating.update(
                    there, spec, artifact, spec_hash=spec_hash, deadline=deadline, wait=wait
                )

    def _make(
        self,
        wired: Provider,
        spec: EndpointSpec,
        artifact: Artifact,
        *,
        spec_hash: str,
        deadline: Deadline,
        wait: bool,
    ) -> Endpoint:
        """Make the endpoint, or go on with its interrupted operation."""
        workspace = self._workspace
        deployer = self._records.deployer(wired)
        wanted = Intent(
            verb=Verb.DEPLOY,
            provider=wired.name,
            name=spec.name,
            spec_hash=spec_hash,
            expires=workspace.clock.now() + spec.ttl if spec.ttl else None,
        )
        ask = self._accounting.ask_endpoint(wired, spec, resumed=intent.resumed(workspace, wanted))
        if ask.by_time and wired.kill_switch is None:
            raise workspace.unsupported(wired, Capability.KILL_SWITCH)

        begun = False

        def claim(connection: Connection, operation: Operation) -> None:
            nonlocal begun
            begun = True
            new = _new_endpoint(operation, artifact, spec.rate)
            holder = endpoints.claim(connection, workspace.owner, new)
            if holder is not None:
                self._refuse_claimed(holder)
            self._accounting.hold(connection, operation, ask)

        def lives(connection: Connection, operation: Operation) -> bool:
            made = endpoints.made_by(connection, workspace.owner, operation.id)
            return made is not None and not made.state.final

        with self._accounting.noting(ask):
            operation = intent.start(
                workspace,
                wanted,
                claim=claim,
                settle=self.settle,
                resumable=lives,
            )
        try:
            self._accounting.about_to_send(operation, ask)
            if ask.by_time:
                self._arm(wired, operation, deadline=deadline)
            # A rerun asks again under the same name: the provider answers the endpoint it has.
            handle = deployer.deploy(spec, operation, deadline=deadline)
        except FreelaneError as error:

            def find(asked: Operation) -> Found[EndpointHandle] | Absent | Unknown:
                return deployer.find(asked, deadline=workspace.deadline())

            known = error if begun else intent.known_failure(operation, error, find)
            self._note_failure(operation, known)
            raise
        endpoint = self._record_handle(operation, handle)
        if not wait:
            self._finish(operation)
            return endpoint
        return self._until_ready(operation, endpoint, deadline=deadline)

    def _standing(
        self, name: str, artifact: Artifact, *, provider: str, spec_hash: str
    ) -> Endpoint | None:
        """The endpoint to answer with instead of making one; one that failed or ends makes room."""
        while True:
            there = self._records.existing(provider, name)
            if there is None:
                return None
            self._is_other(there, artifact=artifact.id, spec_hash=spec_hash)  # or it is refused
            row = self._operation_row(there)
            if row is None and there.handle is None:
                there = self._records.reload(there)  # its operation may have ended since we looked
            if row is None and (there.handle is None or there.state not in UP):
                self._clear_failed(there)
                continue
            if row is None:
                return there
            intent.check_free(self._workspace, row)
            same = row.operation.spec_hash == spec_hash
            if same and not intent.is_expired(self._workspace, row):
                return None  # its interrupted operation goes on
            self.settle(row)

    def rollback(self, endpoint: Endpoint, *, deadline: Deadline, wait: bool) -> Endpoint:
        """Have it serve again what it served before its last update.

        Raises:
            ResourceConflict: Another process is changing it.
            ResourceNotFound: It has served nothing else.
            CapabilityUnsupported: The provider cannot change what an endpoint serves.
            ModelFailed: What served before does not load any more; nothing has changed.
        """
        return self._updating.rollback(endpoint, deadline=deadline, wait=wait)

    def keep(self, endpoint: Endpoint, until: datetime, *, deadline: Deadline) -> Endpoint:
        """Move the end of an endpoint that stands: first what that uses is held, then it is moved.

        Raises:
            QuotaExceeded: The time until then is not free, and nothing else may pay for it.
            CapabilityUnsupported: The provider ends nothing by itself.
            EndpointNotReady: It is gone, is going, or has failed: there is no end to move.
        """
        if endpoint.state in _OVER:
            address = f"{endpoint.provider}/{endpoint.name}"
            raise EndpointNotReady(
                f"endpoint {address} is {endpoint.state}; its end cannot be moved",
                endpoint=address,
                hint="freelane deploy",
            )
        wired = self._workspace.resolve(endpoint.provider)
        if wired.kill_switch is None:
            raise self._workspace.unsupported(wired, Capability.KILL_SWITCH)
        operation = self._operation_of(endpoint)
        self._accounting.prolong(wired, operation, until, billing=endpoint.billing)
        wired.kill_switch.arm(operation, until, deadline=deadline)
        return self._records.refresh(self._records.save(replace(endpoint, expires_at=until)))

    def settle(self, row: OperationRow) -> None:
        """Find out what became of an interrupted deployment or update, and record it.

        Raises:
            ResourceConflict: A live process still works on it.
            OutcomeUnknown: The provider does not tell.
        """
        workspace = self._workspace
        operation = row.operation
        if operation.verb is Verb.UPDATE:
            self._updating.settle(row)
            return
        deployer = self._records.deployer(workspace.resolve(operation.provider))
        seen = intent.find_out(
            workspace, row, lambda asked: deployer.find(asked, deadline=workspace.deadline())
        )
        if isinstance(seen, Found):
            endpoint = self._record_handle(operation, seen.handle)
            self._finish(operation)
            self._records.refresh(endpoint)
        elif seen is not None:
            gone = ResourceNotFound(
                "interrupted before the provider had it", provider=operation.provider
            )
            self._note_failure(operation, gone)

    def delete(self, endpoint: Endpoint, *, deadline: Deadline) -> Endpoint:
        """End it, and look until the provider says it is gone.

        Raises:
            ResourceConflict: A live process is still deploying it.
        """
        workspace = self._workspace
        row = self._operation_row(endpoint)
        if row is not None:
            self.settle(row)
        endpoint = self._records.reload(endpoint)
        if endpoint.handle is None or endpoint.state.final:
            return self._records.save(replace(endpoint, state=EndpointState.DELETED))
        if self._records.is_over(endpoint):
            self._records.refresh(endpoint)  # one that stands past its time is charged for it
        deployer = self._records.deployer(workspace.resolve(endpoint.provider))
        deployer.delete(endpoint.handle, deadline=deadline)
        handle = endpoint.handle
        poll(
            lambda: deployer.status(handle, deadline=workspace.deadline()),
            until=lambda seen: seen.state.final,
            deadline=deadline,
            pauses=backoff(first_s=0.02, factor=1.5, longest_s=1.0, jitter=0.2),
            doing=f"the wait for endpoint {endpoint.name} to be gone",
        )
        # Before that is recorded: nobody deletes again what is recorded as gone.
        self._disarm(self._operation_of(endpoint), deadline=deadline)
        return self._records.refresh(endpoint)

    def adopt_resource(self, operation: Operation, handle: EndpointHandle) -> Endpoint | None:
        """Record an endpoint that only the provider still knows; None if its name is held."""
        owner = self._workspace.owner
        endpoint = replace(_bare_endpoint(operation, artifact="", job=None), handle=handle)
        with self._workspace.store.begin() as connection:
            if endpoints.claim(connection, owner, endpoint) is not None:
                return None
        return self._records.refresh(endpoint)

    def _until_ready(
        self, operation: Operation, endpoint: Endpoint, *, deadline: Deadline
    ) -> Endpoint:
        try:
            seen = self._records.come_up(endpoint, deadline=deadline)
        finally:
            # Left alone (Ctrl-C, the deadline) or done: the intent has been carried out.
            self._finish(operation)
        return self._up(seen)

    def _up(self, seen: Endpoint) -> Endpoint:
        """Return it if it came up; what failed is deleted, and raised with its reason."""
        if seen.state in UP:
            return seen
        if seen.state is not EndpointState.FAILED:
            raise not_ready(seen)  # deleted by another command, or past its time to live
        self._clear_failed(seen)
        raise self._failure(seen)

    def _clear_failed(self, endpoint: Endpoint) -> None:
        """A definite failure deletes what was made; its reason stays on the record."""
        gone = self.delete(endpoint, deadline=self._workspace.deadline())
        if endpoint.reason:
            self._records.save(replace(gone, reason=endpoint.reason))

    def _failure(self, endpoint: Endpoint) -> FreelaneError:
        address = f"{endpoint.provider}/{endpoint.name}"
        message = f"endpoint {address} failed: {endpoint.reason or 'no reason is given'}"
        if endpoint.cause is FailureCause.STORAGE:
            return StateError(message)
        if endpoint.cause in {FailureCause.USER_CODE, FailureCause.OUT_OF_MEMORY}:
            return ModelFailed(message, provider=endpoint.provider, operation="deploy")
        return ProviderInternal(
            message, provider=endpoint.provider, operation="deploy", retryable=False
        )

    def _refuse_claimed(self, holder: Endpoint) -> NoReturn:
        address = f"{holder.provider}/{holder.name}"
        owner = (
            "this project"
            if holder.project == self._workspace.project
            else (f"project {holder.project!r}")
        )
        raise ResourceConflict(
            f"endpoint {address} was just taken by {owner} (operation {holder.operation[:8]}); "
            "wait for it, or choose another --name",
            provider=holder.provider,
            holder=holder.project,
        )

    def _arm(self, provider: Provider, operation: Operation, *, deadline: Deadline) -> None:
        """Have the provider end it at its time, before there is anything to end."""
        if provider.kill_switch is None or operation.expires is None:
            raise self._workspace.unsupported(provider, Capability.KILL_SWITCH)
        provider.kill_switch.arm(operation, operation.expires, deadline=deadline)

    def _disarm(self, operation: Operation, *, deadline: Deadline) -> None:
        """Take the kill switch of what is gone away; one that stays is found by a cleanup."""
        wired = self._workspace.resolve(operation.provider)
        if operation.expires is not None and wired.kill_switch is not None:
            with suppress(ProviderError, DeadlineExceeded, OutcomeUnknown):
                wired.kill_switch.disarm(operation, deadline=deadline)

    def _operation_of(self, endpoint: Endpoint) -> Operation:
        """The operation that made it, as its tags tell it."""
        return Operation(
            id=endpoint.operation,
            verb=Verb.DEPLOY,
            owner=self._workspace.owner,
            project=endpoint.project,
            provider=endpoint.provider,
            emulated=endpoint.emulated,
            name=endpoint.name,
            spec_hash=endpoint.spec_hash,
            created=endpoint.created,
            expires=endpoint.expires_at,
        )

    def _operation_row(self, endpoint: Endpoint) -> OperationRow | None:
        """The operation that made it, while that is unfinished."""
        with self._workspace.store.read() as connection:
            row = operations.get(connection, self._workspace.owner, endpoint.operation)
        return row if row is not None and row.step in UNFINISHED else None

    def _record_handle(self, operation: Operation, handle: EndpointHandle) -> Endpoint:
        owner = self._workspace.owner
        with self._workspace.store.begin() as connection:
            endpoint = endpoints.made_by(connection, owner, operation.id)
            if endpoint is None:
                raise StateError(
                    f"the record of endpoint {operation.name!r} is gone from the state database; "
                    "run: freelane cleanup"
                )
            endpoint = replace(endpoint, handle=handle)
            endpoints.save(connection, owner, endpoint)
            operations.record_handle(connection, operation.id, handle.name, handle.ref)
        return endpoint

    def _finish(self, operation: Operation) -> None:
        with self._workspace.store.begin() as connection:
            operations.finish(connection, operation.id)

    def _note_failure(self, operation: Operation, error: FreelaneError) -> None:
        owner = self._workspace.owner

        def undo(connection: Connection) -> None:
            self._accounting.came_to_nothing(connection, operation)
            endpoint = endpoints.made_by(connection, owner, operation.id)
            if endpoint is not None:
                gone = replace(
                    endpoint, state=EndpointState.DELETED, detail="", reason=error.message
                )
                endpoints.save(connection, owner, gone)

        intent.note_failure(self._workspace, operation, error, undo=undo)
        if not isinstance(error, OutcomeUnknown):
            self._disarm(operation, deadline=self._workspace.deadline())


def _new_endpoint(operation: Operation, artifact: Artifact, rate: RateLimits) -> Endpoint:
    bare = _bare_endpoint(operation, artifact=artifact.id, job=artifact.job)
    return replace(bare, rate=rate)


def _bare_endpoint(operation: Operation, *, artifact: str, job: str | None) -> Endpoint:
    return Endpoint(
        name=operation.name,
        project=operation.project,
        provider=operation.provider,
        emulated=operation.emulated,
        handle=None,
        spec_hash=operation.spec_hash,
        operation=operation.id,
        artifact=artifact,
        job=job,
        state=EndpointState.CREATING,
        detail="",
        created=operation.created,
        expires_at=operation.expires,
    )
