"""What one request to a model, a prediction or a text, is charged before it is sent.

Most pay from a block of units that this process holds, without touching the database; what a free
allowance has no room for goes to the guard, which may let credits or money pay.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from freelane.contract.provider import Provider
from freelane.errors import QuotaExceeded
from freelane.model.amount import show_amount
from freelane.model.endpoint import Endpoint
from freelane.model.generation import GenerationRequest
from freelane.model.quota import QuotaKey, Unit
from freelane.model.spending import Exhausted as Rule
from freelane.model.spending import Policy
from freelane.quota.demand import Demand, Source
from freelane.quota.ledger import Reservation, readings
from freelane.quota.weighing import rate_demand
from freelane.service.accounting import Accounting
from freelane.service.appraisal import Request
from freelane.service.workspace import Workspace
from freelane.waiting import Deadline

if TYPE_CHECKING:
    from freelane.quota.blocks import Exhausted, Line, Spender, Taken

LONGEST_WAIT_S = 65.0
"""`exhausted = "wait"` waits out a minute's window, and no longer one."""
_LOOK_AGAIN = timedelta(seconds=10)
"""After how long a use that is under way may have been settled, and have left room."""
_LEASE = timedelta(minutes=5)
"""How long a prediction that was charged by itself may go unsettled."""


class Paid(Protocol):
    """What one prediction was charged; it counts in full until it is settled."""

    def settle(self, used: Mapping[str, int]) -> None:
        """Say what it really used, by meter; a meter that is not named stays as it was."""
        ...

    def refused(self, quota: str, limit: int) -> None:
        """Learn from the provider's refusal what its limit is; it only ever lowers ours."""
        ...


class Tolls:
    """Charges predictions, for one Client."""

    def __init__(self, workspace: Workspace, accounting: Accounting) -> None:
        self._workspace = workspace
        self._accounting = accounting
        self._spender: Spender | None = None

    def charge(
        self,
        endpoint: Endpoint,
        provider: Provider,
        request: Request,
        *,
        deadline: Deadline,
    ) -> Paid:
        """Charge one request to every line it counts against, or to none.

        Raises:
            QuotaExceeded: One has no room left; nothing is to be sent.
        """
        verb = "chat" if isinstance(request, GenerationRequest) else "predict"
        what = f"{verb} {endpoint.provider}/{endpoint.name}"
        while True:
            with self._accounting.guard.noting(what):
                demands = self._demands(endpoint, provider, request)
                if not demands:
                    return _Nothing()
                paid = self._pay(endpoint, demands, what, deadline)
                if paid is not None:
                    return paid

    def close(self) -> None:
        """Give back what no prediction used."""
        if self._spender is not None:
            self._spender.close()

    def _pay(
        self, endpoint: Endpoint, demands: tuple[Demand, ...], what: str, deadline: Deadline
    ) -> Paid | None:
        """Pay from a block or by itself; None where it waited, and is to be tried again."""
        from freelane.quota import blocks  # noqa: PLC0415 - most endpoints count nothing

        lines = self._lines(demands)
        if not lines:
            return self._by_itself(endpoint, demands, what, deadline)
        if self._spender is None:
            workspace = self._workspace
            self._spender = blocks.Spender(
                workspace.store,
                workspace.machine or workspace.clock,
                what="predictions",
                now=workspace.clock.now,
            )
        try:
            spender = self._spender
            return _FromBlock(self._workspace, demands, spender, spender.take(lines))
        except blocks.Exhausted as full:
            if self._waits(full.retry_after_s, deadline):
                return None
            return self._beyond(endpoint, demands, what, full, deadline)

    def _demands(
        self, endpoint: Endpoint, provider: Provider, request: Request
    ) -> tuple[Demand, ...]:
        workspace = self._workspace
        now, mine = workspace.clock.now(), (workspace.owner, workspace.emulated)
        terms = workspace.terms(endpoint.provider)
        found = [
            rate_demand(
                terms.rate,
                QuotaKey(endpoint.provider, "rate", *mine),
                what=f"requests to {endpoint.provider}",
                now=now,
            )
        ]
        if not provider.info.enforces_rate:
            subject = f"{workspace.owner}/{endpoint.name}"
            found.append(
                rate_demand(
                    endpoint.rate,
                    QuotaKey(endpoint.provider, "rate", subject, workspace.emulated),
                    what=f"requests to {endpoint.provider}/{endpoint.name}",
                    now=now,
                )
            )
        ours = tuple(demand for demand in found if demand is not None)
        if endpoint.handle is None:
            return ours
        estimated = self._accounting.appraisal.request_demands(provider, endpoint.handle, request)
        return (*ours, *estimated)

    def _lines(self, demands: tuple[Demand, ...]) -> "list[Line]":
        """What a block may hold for them; none where a part of it is not simply free."""
        from freelane.quota.blocks import Line  # noqa: PLC0415 - see `_pay`

        lines = []
        for demand in demands:
            counted = self._workspace.spending.policy is Policy.COUNT and not _ours(demand)
            if not (demand.allowances or demand.unbillable):
                return []
            sources = [*demand.rates, *demand.allowances[:1]]
            lines += [
                Line(
                    key=source.key,
                    window=source.window,
                    limit=None if counted else source.limit,
                    amount=demand.amount,
                )
                for source in sources
            ]
        return lines

    def _beyond(
        self,
        endpoint: Endpoint,
        demands: tuple[Demand, ...],
        what: str,
        full: "Exhausted",
        deadline: Deadline,
    ) -> Paid | None:
        """What a block has no room for: unless a rate is full, credits or money may pay.

        Raises:
            QuotaExceeded: They do not.
        """
        for demand in demands:
            for rate in demand.rates:
                if rate.key == full.line.key:
                    raise _refusal(what, rate, full)
        return self._by_itself(endpoint, demands, what, deadline)

    def _by_itself(
        self, endpoint: Endpoint, demands: tuple[Demand, ...], what: str, deadline: Deadline
    ) -> Paid | None:
        guard = self._accounting.guard
        try:
            rule = guard.consent(demands)
            with self._workspace.store.begin() as connection:
                held = guard.admit(
                    connection,
                    demands,
                    rule,
                    key=f"prediction:{secrets.token_hex(16)}",
                    request=endpoint.operation,
                    operation=endpoint.operation,
                    what=what,
                    lease=_LEASE,
                    sent=True,
                )
        except QuotaExceeded as refused:
            if self._waits(self._room_after_s(demands, refused), deadline):
                return None
            raise
        return _Reserved(self._workspace, demands, self._accounting, held)

    def _room_after_s(self, demands: tuple[Demand, ...], refused: QuotaExceeded) -> float | None:
        """After how long the rate that refused may have room; None where no rate did."""
        from freelane.quota.blocks import Line, fullness  # noqa: PLC0415 - see `_pay`

        workspace = self._workspace
        for demand in demands:
            for rate in demand.rates:
                if rate.key == refused.quota_id:
                    line = Line(rate.key, rate.window, rate.limit, demand.amount)
                    with workspace.store.read() as connection:
                        now = workspace.clock.now()
                        full = fullness(connection, line, lease=_LOOK_AGAIN, now=now)
                    return 0.0 if full is None else full.retry_after_s
        return None

    def _waits(self, pause_s: float | None, deadline: Deadline) -> bool:
        """Wait until there is room again, where the configuration says so and it is soon."""
        left_s = deadline.remaining_s
        if (
            self._workspace.spending.exhausted is not Rule.WAIT
            or pause_s is None
            or pause_s > LONGEST_WAIT_S
            or (left_s is not None and pause_s >= left_s)
        ):
            return False
        self._workspace.clock.sleep(max(pause_s, 0.01))
        return True


class _Nothing:
    """Nothing counts it."""

    def settle(self, used: Mapping[str, int]) -> None:
        del used

    def refused(self, quota: str, limit: int) -> None:
        del quota, limit


class _Charged:
    """Something counts it."""

    def __init__(self, workspace: Workspace, demands: tuple[Demand, ...]) -> None:
        self._workspace = workspace
        self._demands = demands

    def refused(self, quota: str, limit: int) -> None:
        keys = {
            source.key
            for demand in self._demands
            for source in demand.sources
            if QuotaKey.parse(source.key).quota == quota
        }
        workspace = self._workspace
        if keys:
            with workspace.store.begin() as connection:
                now = workspace.clock.now()
                for key in sorted(keys):
                    readings.learn_limit(connection, key, limit, now, "a refusal of the provider's")


class _FromBlock(_Charged):
    """Paid from units that this process holds."""

    def __init__(
        self,
        workspace: Workspace,
        demands: tuple[Demand, ...],
        spender: "Spender",
        taken: "Taken",
    ) -> None:
        super().__init__(workspace, demands)
        self._spender = spender
        self._taken = taken

    def refused(self, quota: str, limit: int) -> None:
        super().refused(quota, limit)
        for demand in self._demands:
            for source in (*demand.rates, *demand.allowances):
                if QuotaKey.parse(source.key).quota == quota:
                    self._spender.ask_again(source.key)

    def settle(self, used: Mapping[str, int]) -> None:
        self._taken.settle(
            {
                source.key: used[demand.meter]
                for demand in self._demands
                if demand.meter in used
                for source in (*demand.rates, *demand.allowances[:1])
            }
        )


class _Reserved(_Charged):
    """Charged by a reservation of its own."""

    def __init__(
        self,
        workspace: Workspace,
        demands: tuple[Demand, ...],
        accounting: Accounting,
        reservation: Reservation,
    ) -> None:
        super().__init__(workspace, demands)
        self._accounting = accounting
        self._reservation = reservation

    def settle(self, used: Mapping[str, int]) -> None:
        with self._workspace.store.begin() as connection:
            self._accounting.guard.settle(
                connection,
                self._reservation,
                lambda demand: demand.of(used.get(demand.meter, demand.amount)),
            )


def _ours(demand: Demand) -> bool:
    return demand.unbillable and demand.price is None and not demand.budgets


def _refusal(what: str, rate: Source, full: "Exhausted") -> QuotaExceeded:
    learned = full.balance.learned
    limit = min(x for x in (rate.limit or 0, learned) if x is not None)
    wait = "" if full.retry_after_s is None else f"; wait {max(1, round(full.retry_after_s))} s"
    resets: datetime | None = full.resets_at
    return QuotaExceeded(
        f"{what}: {rate.title} is limited to {show_amount(limit, Unit.REQUESTS)}, "
        f"and that is used up{wait}",
        quota_id=rate.key,
        limit=limit,
        used=full.balance.used + full.balance.held,
        requested=full.line.amount,
        resets_at=resets.isoformat() if resets else None,
        hint="freelane quota",
    )
