"""Changing what an endpoint serves: intent, one call to the provider, and looking until it is done.

Nothing but the intent is written before the provider is asked, and nothing afterwards that a look
at the provider does not tell: whoever refreshes the endpoint's record records what it serves.
"""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from freelane.contract.capability import Capability
from freelane.contract.provider import Provider, Updater
from freelane.errors import (
    FreelaneError,
    ModelFailed,
    ProviderInternal,
    ResourceConflict,
    StateError,
)
from freelane.model.artifact import Artifact
from freelane.model.endpoint import (
    Endpoint,
    EndpointHandle,
    EndpointSpec,
    EndpointStatus,
    Outcome,
    Update,
    is_same_service,
)
from freelane.model.job import FailureCause
from freelane.model.operation import Absent, Found, Operation, Verb
from freelane.service import intent
from freelane.service.endpoint_records import UP, EndpointRecords, not_ready
from freelane.service.intent import Intent
from freelane.service.workspace import Workspace
from freelane.state import endpoints, operations
from freelane.state.operations import OperationRow
from freelane.waiting import Deadline, backoff, poll

_ROLLBACK = "rollback"
"""In the place of a spec's hash: a rerun goes on with the interrupted one, and undoes nothing."""
Call = Callable[[Updater, EndpointHandle, Operation], None]


class UpdatingService:
    """Updates endpoints and rolls them back."""

    def __init__(self, workspace: Workspace, records: EndpointRecords) -> None:
        self._workspace = workspace
        self._records = records

    def is_needed(self, endpoint: Endpoint, *, artifact: str, spec_hash: str) -> bool:
        """Whether it would have to serve something else for that spec; only where it can change."""
        wired = self._workspace.resolve(endpoint.provider)
        # What bills would be charged twice for a while, and nobody holds that yet.
        if wired.updater is None or not wired.info.owned:
            return False
        return endpoint.artifact != artifact or not is_same_service(endpoint.spec_hash, spec_hash)

    def update(
        self,
        endpoint: Endpoint,
        spec: EndpointSpec,
        artifact: Artifact,
        *,
        spec_hash: str,
        deadline: Deadline,
        wait: bool,
    ) -> Endpoint:
        """Have a READY endpoint serve `spec` instead, and answer once it does if `wait`.

        Raises:
            CapabilityUnsupported: The provider cannot change what an endpoint serves.
            ResourceConflict: Another process is changing it.
            ModelFailed: The new model did not load; what served before goes on.
            EndpointNotReady: It ended meanwhile.
        """
        seen = self._change(
            endpoint,
            spec_hash,
            lambda updater, handle, operation: updater.update(
                handle, spec, operation, deadline=deadline
            ),
            deadline=deadline,
            wait=wait,
        )
        if not wait:
            return seen
        return self._records.save(replace(seen, artifact=artifact.id, job=artifact.job))

    def rollback(self, endpoint: Endpoint, *, deadline: Deadline, wait: bool) -> Endpoint:
        """Have an endpoint serve again what it served before its last update.

        Raises:
            ResourceNotFound: It has served nothing else.
            CapabilityUnsupported, ResourceConflict, ModelFailed, EndpointNotReady: As `update`.
        """
        return self._change(
            endpoint,
            _ROLLBACK,
            lambda updater, handle, operation: updater.rollback(
                handle, operation, deadline=deadline
            ),
            deadline=deadline,
            wait=wait,
        )

    def settle_left(self, endpoint: Endpoint) -> None:
        """Settle a change of it that was interrupted, where no live process works on it."""
        with self._workspace.store.read() as connection:
            rows = operations.unfinished(
                connection,
                self._workspace.owner,
                provider=endpoint.provider,
                emulated=endpoint.emulated,
                project=endpoint.project,
                verb=Verb.UPDATE,
                name=endpoint.name,
            )
        for row in rows:
            if not intent.is_held_elsewhere(self._workspace, row):
                self.settle(row)

    def settle(self, row: OperationRow) -> None:
        """Find out whether the provider was asked for an interrupted change, and record it.

        Raises:
            ResourceConflict: A live process still works on it.
            OutcomeUnknown: The provider does not tell.
        """
        operation = row.operation
        endpoint = self._endpoint_of(operation)
        seen = intent.find_out(self._workspace, row, lambda asked: self._find(endpoint, asked))
        if isinstance(seen, Found):
            self._finish(operation)
        elif seen is not None:
            with self._workspace.store.begin() as connection:
                operations.fail(
                    connection, operation.id, "interrupted before the provider was asked"
                )
        if endpoint is not None:
            self._records.refresh(endpoint)

    def _change(
        self, endpoint: Endpoint, spec_hash: str, call: Call, *, deadline: Deadline, wait: bool
    ) -> Endpoint:
        wired = self._workspace.resolve(endpoint.provider)
        updater = self._updater(wired)
        handle = endpoint.handle
        if handle is None or endpoint.state not in UP:
            raise not_ready(endpoint)
        begun = False

        def claim(connection: Connection, operation: Operation) -> None:
            nonlocal begun
            del operation  # nothing is held for it
            begun = True
            now = endpoints.made_by(connection, self._workspace.owner, endpoint.operation)
            if now is None or now.state not in UP:
                raise not_ready(now or endpoint)

        wanted = Intent(
            verb=Verb.UPDATE,
            provider=endpoint.provider,
            name=endpoint.name,
            spec_hash=spec_hash,
        )
        operation = intent.start(self._workspace, wanted, claim=claim, settle=self.settle)
        try:
            call(updater, handle, operation)
        except FreelaneError as error:
            known = (
                error
                if begun
                else intent.known_failure(operation, error, lambda it: self._find(endpoint, it))
            )
            intent.note_failure(self._workspace, operation, known, undo=_nothing)
            raise
        with self._workspace.store.begin() as connection:
            operations.record_handle(connection, operation.id, handle.name, handle.ref)
        if not wait:
            self._finish(operation)
            return self._records.refresh(endpoint)
        return self._until_done(operation, endpoint, handle, deadline=deadline)

    def _until_done(
        self,
        operation: Operation,
        endpoint: Endpoint,
        handle: EndpointHandle,
        *,
        deadline: Deadline,
    ) -> Endpoint:
        deployer = self._records.deployer(self._workspace.resolve(endpoint.provider))
        try:
            status = poll(
                lambda: deployer.status(handle, deadline=self._workspace.deadline()),
                until=lambda seen: not _is_under_way(seen, operation),
                deadline=deadline,
                pauses=backoff(first_s=0.02, factor=1.5, longest_s=0.5, jitter=0.2),
                doing=f"the update of endpoint {endpoint.name}, which goes on",
                hint="freelane endpoints",
            )
        finally:
            # Left alone (Ctrl-C, the deadline) or done: the intent has been carried out.
            self._finish(operation)
        seen = self._records.refresh(endpoint)
        if seen.state not in UP:
            raise not_ready(seen)
        update = status.update
        if update is None or update.operation != operation.id:
            raise ResourceConflict(
                f"endpoint {endpoint.provider}/{endpoint.name} was updated by another command "
                "meanwhile; see: freelane endpoints",
                provider=endpoint.provider,
                operation=operation.verb,
            )
        if update.outcome is Outcome.FAILED:
            raise _failure(endpoint, update)
        return seen

    def _find(
        self, endpoint: Endpoint | None, operation: Operation
    ) -> Found[EndpointHandle] | Absent:
        """Whether the provider has been asked for it."""
        if endpoint is None or endpoint.handle is None:
            return Absent()
        deployer = self._records.deployer(self._workspace.resolve(endpoint.provider))
        status = deployer.status(endpoint.handle, deadline=self._workspace.deadline())
        asked = {told.operation for told in (status.update, status.serves) if told is not None}
        return Found(endpoint.handle) if operation.id in asked else Absent()

    def _endpoint_of(self, operation: Operation) -> Endpoint | None:
        with self._workspace.store.read() as connection:
            endpoint = endpoints.get(
                connection,
                operation.owner,
                operation.provider,
                operation.emulated,
                operation.name,
            )
        return None if endpoint is None or endpoint.state.final else endpoint

    def _updater(self, provider: Provider) -> Updater:
        if provider.updater is None:
            raise self._workspace.unsupported(provider, Capability.UPDATE)
        return provider.updater

    def _finish(self, operation: Operation) -> None:
        with self._workspace.store.begin() as connection:
            operations.finish(connection, operation.id)


def _is_under_way(status: EndpointStatus, operation: Operation) -> bool:
    update = status.update
    if status.state not in UP or update is None or update.operation != operation.id:
        return False
    return update.outcome is Outcome.UNDER_WAY


def _failure(endpoint: Endpoint, update: Update) -> FreelaneError:
    address = f"{endpoint.provider}/{endpoint.name}"
    message = (
        f"endpoint {address} could not be updated: {update.reason or 'no reason is given'}; "
        "it goes on with what it served"
    )
    if update.cause is FailureCause.STORAGE:
        return StateError(message)
    if update.cause in {FailureCause.USER_CODE, FailureCause.OUT_OF_MEMORY}:
        return ModelFailed(message, provider=endpoint.provider, operation="deploy")
    return ProviderInternal(
        message, provider=endpoint.provider, operation="deploy", retryable=False
    )


def _nothing(connection: Connection) -> None:
    """Nothing was held."""
    del connection
