"""What operations are charged: held before they are sent, settled by what they came to.

Between the two stands the process that asks. Whatever it dies of, a hold that was not sent lapses,
and what was sent is posted in full until somebody sees what it came to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.contract.provider import Provider
from freelane.errors import QuotaExceeded, ResourceConflict
from freelane.model.budget import NANO
from freelane.model.endpoint import EndpointSpec
from freelane.model.job import Job, JobSpec
from freelane.model.operation import Operation
from freelane.model.usage import Cover
from freelane.quota import ledger
from freelane.quota.demand import Demand
from freelane.quota.guard import Guard
from freelane.quota.ledger import Reservation, accruals
from freelane.quota.ledger.expiry import expire
from freelane.quota.policy import Rule
from freelane.service.appraisal import DEFAULT_RUNTIME, Appraisal
from freelane.service.workspace import Workspace

QUEUE = timedelta(hours=6)
"""How long a job may wait for its machine before its hold is posted in full."""
_SENT = frozenset({ledger.State.SENT, ledger.State.POSTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an operation asks for, and what may pay for it."""

    what: str
    demands: tuple[Demand, ...] = ()
    rule: Rule
    lease: timedelta
    by_time: bool = False
    """Whether it goes on costing while nobody uses it."""


class Accounting:
    """Weighs, holds and settles for the services."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.guard = Guard(
            workspace.store,
            workspace.clock,
            workspace.spending,
            confirm=workspace.confirm,
        )
        self.appraisal = Appraisal(workspace)

    def ask_job(self, provider: Provider, spec: JobSpec, *, resumed: str | None = None) -> Ask:
        """Weigh a job, and ask a person where the configuration says so.

        What the operation `resumed` holds already is not asked for again.

        Raises:
            QuotaExceeded: It does not fit.
        """
        runtime = spec.max_runtime or DEFAULT_RUNTIME
        what = f"train {provider.name}/{spec.name}"
        self.appraisal.read_usage(provider)
        with self.guard.noting(what):
            demands = self.appraisal.demands(provider, spec)
            rule = self._rule(demands, resumed)
        return Ask(what=what, demands=demands, rule=rule, lease=runtime + QUEUE)

    def ask_endpoint(
        self, provider: Provider, spec: EndpointSpec, *, resumed: str | None = None
    ) -> Ask:
        """Weigh an endpoint, and ask a person where the configuration says so.

        What the operation `resumed` holds already is not asked for again.

        Raises:
            QuotaExceeded: It does not fit, or it bills while idle and has no end.
        """
        what = f"deploy {provider.name}/{spec.name}"
        self.appraisal.read_usage(provider)
        with self.guard.noting(what):
            demands = self.appraisal.demands(provider, spec)
            rule = self._rule(demands, resumed)
        by_time = any(demand.end is not None for demand in demands)
        lease = spec.ttl or DEFAULT_RUNTIME
        return Ask(what=what, demands=demands, rule=rule, lease=lease, by_time=by_time)

    @contextmanager
    def noting(self, ask: Ask) -> Iterator[None]:
        """Record a refusal that comes of another operation having been faster."""
        with self.guard.noting(ask.what):
            yield

    def hold(self, connection: Connection, operation: Operation, ask: Ask) -> None:
        """Hold all that is asked, in the transaction that writes the intent.

        Raises:
            QuotaExceeded: It does not fit any more.
        """
        if ask.demands:
            self._admit(connection, operation, ask)

    def about_to_send(self, operation: Operation, ask: Ask) -> None:
        """Say that the provider is about to be asked: from here on it counts, come what may.

        A hold that lapsed while its operation lay interrupted is taken anew.

        Raises:
            QuotaExceeded: It lapsed, and does not fit any more.
        """
        if not ask.demands:
            return
        workspace = self._workspace
        with self.noting(ask), workspace.store.begin() as connection:
            held = self._admit(connection, operation, ask)
            if held.state is not ledger.State.POSTED:  # an earlier run's counts in full already
                ledger.mark_sent(connection, held.id, workspace.clock.now())
            if ask.by_time:
                demands = self.guard.admitted(held).demands  # an earlier run's may end sooner
                accruals.open_accrual(
                    connection,
                    owner=workspace.owner,
                    operation=operation.id,
                    provider=operation.provider,
                    reservation=held.id,
                    started=min(demand.start for demand in demands),
                    until=max(demand.end or demand.start for demand in demands),
                )

    def came_to_nothing(self, connection: Connection, operation: Operation) -> None:
        """Nothing was made: what runs by time used no time; what was asked at once still counts.

        Past its time that nothing is there says no more that nothing was: its kill switch may have
        ended it, so all that time counts.
        """
        accrual = accruals.get(connection, self._workspace.owner, operation.id)
        expires = operation.expires
        if accrual is not None and expires is not None and expires <= self._workspace.clock.now():
            self.close(connection, operation.id, expires)
            return
        held = ledger.find(connection, _key(operation.id))
        if held is None:
            return
        if held.state is ledger.State.HELD:
            ledger.release(connection, held.id, self._workspace.clock.now(), "nothing was made")
        elif held.state in _SENT:
            self.guard.settle(
                connection,
                held,
                lambda demand: demand.over(demand.start, demand.start),
                note="nothing was made",
            )
        accruals.close(connection, self._workspace.owner, operation.id, self._workspace.clock.now())

    def settle_job(self, connection: Connection, job: Job) -> Job:
        """Post what a job that has ended came to, by the provider's own figure where it has one.

        The job is answered with what it cost in money; credit is none.
        """
        held = ledger.find(connection, _key(job.operation))
        if held is None or held.state is ledger.State.SETTLED:
            return job
        span = _billed(job)
        if span is None:
            ledger.settle(connection, held.id, self._workspace.clock.now(), note="no figure given")
            return job
        came_to = self.guard.settle(
            connection, held, lambda demand: demand.over(*span), note=f"job {job.id} ended"
        )
        return replace(job, cost_usd=came_to.nano_usd(Cover.PAID) / NANO)

    def close(self, connection: Connection, operation: str, ended: datetime) -> None:
        """Post the time that something stood, now that its provider says it is gone; once."""
        accrual = accruals.get(connection, self._workspace.owner, operation)
        if accrual is None or accrual.ended is not None:
            return
        if ended > accrual.until:
            self._accrue(connection, accrual, ended)
        for held in self._standing(connection, operation):
            self.guard.settle(
                connection,
                held,
                lambda demand: demand.over(demand.start, min(demand.end or ended, ended)),
                note="its provider says that it is gone",
            )
        accruals.close(connection, self._workspace.owner, operation, ended)

    def accrue(self) -> int:
        """Post the time of everything that stands longer than was held; how many there were."""
        workspace = self._workspace
        now = workspace.clock.now()
        with workspace.store.read() as connection:
            late = accruals.late(connection, workspace.owner, now)
        for one in late:
            # A transaction each: counters are locked in their order within one operation only.
            with workspace.store.begin() as connection:
                standing = accruals.get(connection, workspace.owner, one.operation)
                if standing is not None and standing.ended is None and standing.until < now:
                    self._accrue(connection, standing, now)
        return len(late)

    def stands(self, operation: str) -> None:
        """Its provider shows it now: post its time where it is past what was held for it."""
        workspace = self._workspace
        with workspace.store.begin() as connection:
            accrual, now = (
                accruals.get(connection, workspace.owner, operation),
                workspace.clock.now(),
            )
            if accrual is not None and accrual.ended is None and accrual.until < now:
                self._accrue(connection, accrual, now)

    def expire(self) -> list[Reservation]:
        """Let go of what lapsed unsent, and post in full what was sent and never settled."""
        workspace = self._workspace
        with workspace.store.begin() as connection:
            return expire(connection, workspace.clock.now())

    def prolong(
        self, provider: Provider, operation: Operation, until: datetime, *, billing: bool
    ) -> None:
        """Hold the next slice of what stands, before its end is moved to `until`.

        It is weighed by what holds now, not by what held when it was made. `billing` is whether
        its provider says that it costs while it stands.

        Raises:
            QuotaExceeded: The next slice does not fit, or nobody knows what it costs; nothing was
                moved.
            ResourceConflict: Another process has just moved its end.
        """
        workspace = self._workspace
        what = f"keep {operation.provider}/{operation.name} until {until:%Y-%m-%d %H:%M} UTC"
        with workspace.store.read() as connection:
            accrual = accruals.get(connection, workspace.owner, operation.id)
            first = ledger.get(connection, accrual.reservation) if accrual else None
        with self.guard.noting(what):
            if accrual is None or first is None:
                if billing and not provider.info.owned:
                    raise _unaccounted(what, operation)
                return
            if until <= accrual.until:
                return
            stands = _by_time(self.guard.admitted(first).demands, accrual.until, until)
            demands = self.appraisal.anew(provider, stands)
            rule = self.guard.consent(demands)
            with workspace.store.begin() as connection:
                try:
                    self.guard.admit(
                        connection,
                        demands,
                        rule,
                        key=f"{_key(operation.id)}:{accrual.until.isoformat()}",
                        request=until.isoformat(),
                        operation=operation.id,
                        what=what,
                        lease=until - workspace.clock.now(),
                        sent=True,
                    )
                except ledger.KeyReused:
                    raise _moved_elsewhere(operation) from None
                accruals.prolong(connection, workspace.owner, operation.id, until)

    def _accrue(self, connection: Connection, accrual: accruals.Accrual, now: datetime) -> None:
        """Post what stands beyond what was held: it has happened, so nothing refuses it."""
        first = ledger.get(connection, accrual.reservation)
        if first is None:
            return
        admitted = self.guard.admitted(first)
        demands = tuple(
            demand.over(accrual.until, now) for demand in admitted.demands if demand.end is not None
        )
        self.guard.admit(
            connection,
            demands,
            replace(admitted.rule, pay=True, enforce=False),
            key=f"{_key(accrual.operation)}:{accrual.until.isoformat()}:late",
            request=now.isoformat(),
            operation=accrual.operation,
            what=f"{first.what}, past its time",
            lease=timedelta(),  # posted in full at once, and put right when its end is known
            sent=True,
        )
        accruals.prolong(connection, self._workspace.owner, accrual.operation, now)

    def _standing(self, connection: Connection, operation: str) -> list[Reservation]:
        return [held for held in ledger.of_operation(connection, operation) if held.state in _SENT]

    def _rule(self, demands: tuple[Demand, ...], resumed: str | None) -> Rule:
        """What may pay: as it was agreed to before, or a person having been asked now."""
        if not demands:
            return self.guard.rule
        if resumed is not None:
            with self._workspace.store.read() as connection:
                held = ledger.find(connection, _key(resumed))
            if held is not None and held.state in {ledger.State.HELD, *_SENT}:
                return self.guard.admitted(held).rule
        return self.guard.consent(demands)

    def _admit(self, connection: Connection, operation: Operation, ask: Ask) -> Reservation:
        return self.guard.admit(
            connection,
            ask.demands,
            ask.rule,
            key=_key(operation.id),
            request=operation.spec_hash,
            operation=operation.id,
            what=ask.what,
            lease=ask.lease,
        )


def _by_time(demands: tuple[Demand, ...], start: datetime, end: datetime) -> tuple[Demand, ...]:
    """What of them runs by time, for another stretch of it."""
    return tuple(demand.over(start, end) for demand in demands if demand.end is not None)


def _unaccounted(what: str, operation: Operation) -> QuotaExceeded:
    address = f"{operation.provider}/{operation.name}"
    return QuotaExceeded(
        f"{what}: it bills while it stands, and what it costs is not recorded; it ends when it "
        "was to end",
        quota_id=f"{operation.provider}/unknown",
        limit=0,
        used=0,
        requested=0,
        hint=f"freelane delete {address}, and deploy it again",
    )


def _moved_elsewhere(operation: Operation) -> ResourceConflict:
    return ResourceConflict(
        f"another process has just moved the end of {operation.provider}/{operation.name}; "
        "run this again",
        provider=operation.provider,
        operation=operation.verb,
    )


def _key(operation: str) -> str:
    return f"operation:{operation}"


def _billed(job: Job) -> tuple[datetime, datetime] | None:
    """When a job ran, as it is billed; None where nobody says."""
    started = job.started or (job.ended or job.created)
    if job.billed_seconds is not None:
        return started, started + timedelta(seconds=job.billed_seconds)
    if job.started is not None and job.ended is not None:
        return job.started, job.ended
    return None
