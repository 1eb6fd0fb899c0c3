"""The policy in front of the ledger: what fits is held, what does not is refused with the reason.

A question to a person is never asked inside a transaction: `consent` looks and asks first, and
`admit` decides anew on what is left when it holds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from freelane.clock import Clock
from freelane.errors import QuotaExceeded, StateError
from freelane.model.amount import show_amount, show_usd
from freelane.model.quota import Kind
from freelane.model.spending import Credits, Exhausted, Policy, Spending
from freelane.model.usage import Cover
from freelane.quota import ledger
from freelane.quota.cell import Balance, Cell, Hold
from freelane.quota.demand import Demand
from freelane.quota.ledger import LineFull, Reservation, State
from freelane.quota.policy import Allocation, Rule, Shortfall, allocate, touched
from freelane.store.engine import Store

if TYPE_CHECKING:
    from pydantic import TypeAdapter


_TO_PAY = 'to pay: [guard] policy = "budget" and budget = "10 USD/month"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What a reservation was granted for, kept with it: it is settled by the same terms."""

    demands: tuple[Demand, ...]
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would pay for it now; nothing is held."""

    allocation: Allocation
    balances: dict[Cell, Balance]
    rule: Rule


class Guard:
    """Admits operations and settles them; holds no state of its own."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        spending: Spending,
        *,
        confirm: Callable[[str], bool] | None = None,
    ) -> None:
        """`confirm` asks a person; None where there is none, which refuses."""
        self._store = store
        self._clock = clock
        self._spending = spending
        self._confirm = confirm

    @property
    def rule(self) -> Rule:
        """What may pay before anybody is asked."""
        policy, credit = self._spending.policy, self._spending.credits is Credits.USE
        if policy is Policy.COUNT:
            return Rule(credit=credit, pay=True, enforce=False)
        return Rule(credit=credit, pay=policy is Policy.BUDGET)

    def preview(self, demands: Sequence[Demand], rule: Rule | None = None) -> Preview:
        """Who would pay for what now."""
        rule = rule or self.rule
        now = self._clock.now()
        with self._store.read() as connection:
            demands, also = _grounded(connection, demands, now)
            balances = ledger.glance(connection, touched(demands, also), now)
        allocation = allocate(demands, balances, rule, stepped_back_from=also)
        return Preview(allocation=allocation, balances=balances, rule=rule)

    def refusal_of(self, seen: Preview) -> str | None:
        """Why it would be refused now, and what helps; None where it would not be."""
        if not seen.allocation.shortfalls:
            return None
        error = self._refusal(seen.allocation.shortfalls)
        return error.message + (f" ({error.hint})" if error.hint else "")

    def consent(self, demands: Sequence[Demand]) -> Rule:
        """What may pay, a person having been asked where the configuration says `ask`.

        Raises:
            QuotaExceeded: It does not fit, and nobody agreed to more.
        """
        seen = self.preview(demands)
        if not seen.allocation.shortfalls:
            return seen.rule
        if self._confirm is not None:
            for rule in self._askable():
                asked = self.preview(demands, rule).allocation
                if not asked.shortfalls and self._confirm(_question(asked)):
                    return rule
        raise self._refusal(seen.allocation.shortfalls)

    def admit(  # noqa: PLR0913 - each is one fact of the grant
        self,
        connection: Connection,
        demands: Sequence[Demand],
        rule: Rule,
        *,
        key: str,
        request: str,
        operation: str,
        what: str,
        lease: timedelta,
        sent: bool = False,
    ) -> Reservation:
        """Hold every demand, or none of them; the same key and request get the same grant.

        Raises:
            QuotaExceeded: One has no room; the caller's transaction must not go on.
        """
        now = self._clock.now()
        standing = ledger.find(connection, key, lock=True)
        holds: tuple[Hold, ...] = ()  # what stands is answered again, whatever is left by now
        if standing is None:
            demands, also = _grounded(connection, demands, now)
            balances = ledger.balances(connection, touched(demands, also), now)
            allocation = allocate(demands, balances, rule, stepped_back_from=also)
            if allocation.shortfalls:
                raise self._refusal(allocation.shortfalls)
            holds = allocation.holds()
        try:
            return ledger.reserve(
                connection,
                holds,
                key=key,
                request=request,
                lease=lease,
                now=now,
                sent=sent,
                operation=operation,
                what=what,
                allocation=_codec().dump_json(Admitted(demands=tuple(demands), rule=rule)).decode(),
            )
        except LineFull as full:  # pragma: no cover - the locks keep out who could fill it
            raise QuotaExceeded(
                f"{full.hold.cell.key} has just been filled; nothing was done, try again",
                quota_id=full.hold.cell.key,
                limit=full.hold.limit or 0,
                used=full.balance.used + full.balance.held,
                requested=full.hold.amount,
            ) from full

    def settle(
        self,
        connection: Connection,
        reservation: Reservation,
        change: Callable[[Demand], Demand] = lambda demand: demand,
        *,
        note: str = "",
    ) -> Allocation:
        """Post what was really used: `change` makes of each demand what it came to.

        Free allowances pay first, as far as they go now; it has happened, so nothing is refused.
        Answers who paid for what.
        """
        admitted = self.admitted(reservation)
        demands = tuple(change(demand) for demand in admitted.demands)
        now = self._clock.now()
        own = {hold.cell: hold.amount for hold in reservation.holds}
        cells = touched(demands) | set(own)
        balances = ledger.balances(connection, cells, now)
        # Looking may have posted it, its lease having run out.
        reservation = ledger.get(connection, reservation.id) or reservation
        posted = reservation.state not in {State.HELD, State.SENT}
        room = {
            cell: _without(balance, own.get(cell, 0), posted=posted)
            for cell, balance in balances.items()
        }
        rule = replace(admitted.rule, pay=True, enforce=False)
        allocation = allocate(demands, room, rule)
        ledger.settle(connection, reservation.id, now, allocation.charges, note=note)
        return allocation

    def admitted(self, reservation: Reservation) -> Admitted:
        """What it was granted for.

        Raises:
            StateError: Its record cannot be read.
        """
        try:
            return _codec().validate_json(reservation.allocation)
        except ValueError as error:
            raise StateError(
                f"the record of reservation {reservation.id} is damaged; restore the database "
                "from a backup"
            ) from error

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Record a refusal raised in the block, so that it can be explained by its id."""
        try:
            yield
        except QuotaExceeded as error:
            if error.refusal is None:
                from freelane.quota.ledger import audit  # noqa: PLC0415 - only a refusal pays for it

                with self._store.begin() as connection:
                    error.refusal = audit.refuse(
                        connection,
                        now=self._clock.now(),
                        what=what,
                        reason=error.message,
                        fields=error.fields(),
                    )
            raise

    def _askable(self) -> Iterator[Rule]:
        base = self.rule
        credit = base.credit or self._spending.credits is Credits.ASK
        if credit and not base.credit:
            yield replace(base, credit=True)
        if self._spending.exhausted is Exhausted.ASK and not base.pay:
            yield replace(base, credit=base.credit, pay=True)
            if credit and not base.credit:
                yield replace(base, credit=True, pay=True)

    def _refusal(self, shortfalls: Sequence[Shortfall]) -> QuotaExceeded:
        short = shortfalls[0]
        source = short.source
        message, hint = self._words(short)
        return QuotaExceeded(
            message,
            quota_id=source.key if source else "none",
            limit=short.limit,
            used=short.used,
            requested=short.asked,
            resets_at=short.resets_at.isoformat() if short.resets_at else None,
            hint=hint,
        )

    def _words(self, short: Shortfall) -> tuple[str, str]:
        source = short.source
        if short.price_unknown and (source is None or short.limit == 0):
            return (
                f"{short.what}: no price is known for it, and an unknown price is refused",
                "add its price to a file in prices/ beside your configuration; see docs/free-tier",
            )
        part = "the rest" if short.asked > short.requested else "it"
        cost = "" if short.nano_usd is None else f"; {part} would cost {show_usd(short.nano_usd)}"
        if source is None:
            pays = self._spending.policy is not Policy.FREE
            hint = "freelane quota" if pays else _TO_PAY
            return f"{short.what}: no free allowance covers it{cost}", hint
        asked = show_amount(short.asked, short.unit)
        left = show_amount(max(0, short.limit - short.used), short.unit)
        of = show_amount(short.limit, short.unit)
        reset = f", it resets {short.resets_at:%Y-%m-%d %H:%M} UTC" if short.resets_at else ""
        message = f"{short.what}: {asked} asked, {left} of {of} left of {source.title}{reset}"
        return message + ("" if source.kind is Kind.BUDGET else cost), "freelane quota"


def _question(allocation: Allocation) -> str:
    paid, credit = allocation.nano_usd(Cover.PAID), allocation.nano_usd(Cover.CREDIT)
    parts = [f"{show_usd(credit)} of credit"] if credit else []
    parts += [f"{show_usd(paid)} of money"] if paid else []
    return f"this is not free: it uses {' and '.join(parts)}. Go on?"


@cache
def _codec() -> "TypeAdapter[Admitted]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - a listing pays for no schema

    return TypeAdapter(Admitted)


def _grounded(
    connection: Connection, demands: Sequence[Demand], now: datetime
) -> tuple[tuple[Demand, ...], datetime | None]:
    """The demands without credit that nobody has read, and a later moment the clock showed."""
    from freelane.quota.ledger import readings  # noqa: PLC0415 - only what may cost pays for it

    grounded = tuple(
        replace(
            demand,
            credits=tuple(
                credit
                for credit in demand.credits
                if not credit.unread or readings.last_reading(connection, credit.key) is not None
            ),
        )
        if demand.credits
        else demand
        for demand in demands
    )
    keys = {source.key for demand in grounded for source in demand.sources}
    return grounded, ledger.latest_seen(connection, keys, now)


def _without(balance: Balance, own: int, *, posted: bool) -> Balance:
    if posted:
        return replace(balance, used=balance.used - own)
    return replace(balance, held=balance.held - own)
