"""Whatever is done to the ledger, in whatever order, it says what a plain list of uses says."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from freelane.quota import ledger
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.ledger import Closed, KeyReused, LineFull, audit, readings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
OPEN, GIVEN_BACK = {"HELD", "SENT"}, {"RELEASED", "LAPSED"}
TABLES = ("counters", "slides", "reservations", "postings", "limits", "readings")

SUMS = text(
    "SELECT key, start, used, held,"
    " (SELECT coalesce(sum(amount), 0) FROM quota_slides WHERE key = n.key),"
    " (SELECT coalesce(sum(used), 0) FROM quota_postings"
    "  WHERE key = n.key AND start = n.start AND until IS NULL),"
    " (SELECT coalesce(sum(held), 0) FROM quota_postings"
    "  WHERE key = n.key AND start = n.start) FROM quota_counters AS n"
)

LINES = st.sampled_from(["day", "minute", "ever"])
AMOUNTS = st.integers(0, 6)
HOLDS = st.lists(st.tuples(LINES, AMOUNTS), min_size=1, max_size=3)
STEPS = st.sampled_from([1, SECOND, 20 * SECOND, 50 * SECOND, MINUTE, DAY // 2])
LEASES = st.sampled_from([SECOND, 30 * SECOND, MINUTE, DAY])


@dataclass
class Reserved:
    id: str
    key: str
    request: str
    state: str
    holds: dict[Cell, int]
    lease_until: int


@dataclass
class Use:
    """One posting of `used`, whether or not it still counts."""

    at: int
    by: str
    cell: Cell
    amount: int
    until: int | None
    counts: bool = True


@dataclass
class Model:
    """The ledger as nobody would write it: every question is answered by adding everything up."""

    reserved: list[Reserved] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    learned: dict[str, int] = field(default_factory=dict)

    def forget_what_slid_out(self, now):
        for use in self.uses:
            use.counts &= use.until is None or use.until > now

    def post(self, now, by, cell, amount, at):
        until = at + cell.slide if cell.slide else None
        counts = until is None or until > now
        self.uses.append(Use(now, by, cell, amount, until, counts))

    def expire(self, now):
        for one in self.reserved:
            if one.state in OPEN and one.lease_until <= now:
                if one.state == "SENT":
                    for cell, amount in one.holds.items():
                        self.post(now, one.id, cell, amount, one.lease_until)
                one.state = {"HELD": "LAPSED", "SENT": "POSTED"}[one.state]

    def balance(self, cell, now):
        used = sum(
            use.amount
            for use in self.uses
            if use.cell == cell and use.counts and (use.until is None or use.until > now)
        )
        held = 0
        for one in self.reserved:
            amount = one.holds.get(cell, 0)
            if one.state in OPEN and one.lease_until > now:
                held += amount
            elif one.state == "SENT" and (not cell.slide or one.lease_until + cell.slide > now):
                used += amount
        return Balance(used, held, self.learned.get(cell.key))

    def standing(self, key):
        for one in self.reserved:
            if one.key == key and one.state not in GIVEN_BACK:
                return one
        return None


class LedgerMachine(RuleBasedStateMachine):
    reservations = Bundle("reservations")

    def __init__(self, store):
        super().__init__()
        self.store = store
        with store.begin() as c:
            for table in TABLES:
                c.execute(text(f"DELETE FROM quota_{table}"))
        self.model = Model()
        self.now = self.latest = 20_000 * DAY + 12 * 3600 * SECOND
        self.limits = {"day": 8, "minute": 6, "ever": None}
        self.cells = {self.cell(line) for line in self.limits}
        self.count = 0

    def cell(self, line):
        start, slide = {"day": (self.now // DAY * DAY, 0), "minute": (0, MINUTE)}.get(line, (0, 0))
        return Cell(f"p/{line}", start, slide)

    @property
    def moment(self):
        return EPOCH + timedelta(microseconds=self.now)

    def do(self, function, *arguments, **more):
        with self.store.begin() as c:
            return function(c, *arguments, **more)

    def reserved(self, id_):
        (one,) = [one for one in self.model.reserved if one.id == id_]
        return one

    # Reserving

    def lines(self, holds):
        lines = [Hold(self.cell(line), amount, self.limits[line]) for line, amount in holds]
        self.cells |= {hold.cell for hold in lines}
        return lines

    def reserve(self, c, lines, key, request, lease, *, sent):
        lease = timedelta(microseconds=lease)
        return ledger.reserve(
            c, lines, key=key, request=request, lease=lease, now=self.moment, sent=sent
        )

    def fits(self, lines):
        wanted = {}
        for hold in sorted(lines, key=lambda hold: hold.cell):
            wanted[hold.cell] = wanted.get(hold.cell, 0) + hold.amount
            balance = self.model.balance(hold.cell, self.now)
            if hold.amount and hold.limit is not None:
                limit = min(hold.limit, self.model.learned.get(hold.cell.key, hold.limit))
                if balance.used + balance.held + wanted[hold.cell] > limit:
                    return False
        return True

    @initialize(target=reservations, lease=LEASES, sent=st.booleans())
    def begin(self, lease, sent):
        return self.reserve_anew([("minute", 3), ("day", 2)], lease, sent)

    @rule(target=reservations, holds=HOLDS, lease=LEASES, sent=st.booleans())
    def reserve_anew(self, holds, lease, sent):
        self.count += 1
        key, lines = f"key {self.count}", self.lines(holds)
        fits = self.fits(lines)
        try:
            granted = self.do(self.reserve, lines, key, key, lease, sent=sent)
        except LineFull:
            assert not fits
            return multiple()
        assert fits
        self.granted(granted, key, lines, lease, sent=sent)
        return granted.id

    def granted(self, granted, key, lines, lease, *, sent):
        self.model.expire(self.now)
        holds = {}
        for hold in lines:
            holds[hold.cell] = holds.get(hold.cell, 0) + hold.amount
        state = "SENT" if sent else "HELD"
        assert granted.state == state
        self.model.reserved.append(Reserved(granted.id, key, key, state, holds, self.now + lease))

    @rule(target=reservations, id_=reservations, lease=LEASES, sent=st.booleans())
    def reserve_again(self, id_, lease, sent):
        one = self.reserved(id_)
        if self.model.standing(one.key):
            with pytest.raises(KeyReused):
                self.do(self.reserve, [], one.key, "something else", lease, sent=sent)
        lines = [Hold(cell, amount, None) for cell, amount in one.holds.items()]
        standing = self.model.standing(one.key)
        granted = self.do(self.reserve, lines, one.key, one.request, lease, sent=sent)
        if standing is None:
            self.granted(granted, one.key, lines, lease, sent=sent)
            return granted.id
        assert (granted.id, granted.state) == (standing.id, standing.state)
        if standing.state in OPEN:
            standing.lease_until = max(standing.lease_until, self.now + lease)
        return multiple()

    @rule(id_=consumes(reservations), holds=HOLDS)
    def crash(self, id_, holds):
        """Before a commit; and nobody is left to close what was granted."""
        lines = self.lines(holds)
        try:
            with self.store.begin() as c:
                self.reserve(c, lines, "never", "never", DAY, sent=True)
                raise KeyboardInterrupt  # noqa: TRY301 - as if it were killed here
        except (KeyboardInterrupt, LineFull):
            pass

    # Going on with one

    @rule(id_=reservations)
    def send(self, id_):
        one = self.reserved(id_)
        may = one.state == "SENT" or (one.state == "HELD" and one.lease_until > self.now)
        try:
            assert self.do(ledger.mark_sent, id_, self.moment).state == "SENT"
        except Closed:
            assert not may
            return
        assert may
        one.state = "SENT"

    @rule(id_=reservations, lease=LEASES)
    def beat(self, id_, lease):
        one = self.reserved(id_)
        try:
            self.do(ledger.heartbeat, id_, timedelta(microseconds=lease), self.moment)
        except Closed:
            assert one.state not in OPEN
            return
        assert one.state in OPEN
        one.lease_until = max(one.lease_until, self.now + lease)

    @rule(id_=reservations)
    def release(self, id_):
        one = self.reserved(id_)
        try:
            self.do(ledger.release, id_, self.moment)
        except Closed:
            assert one.state in {"SENT", "SETTLED", "POSTED"}
            return
        assert one.state in {"HELD"} | GIVEN_BACK
        if one.state == "HELD":
            one.state = "RELEASED"

    @rule(id_=reservations, twice=st.booleans())
    def settle_after_its_time(self, id_, twice):
        one = self.reserved(id_)
        if one.state in OPEN:
            self.now = max(self.now, one.lease_until)
            self.latest = max(self.now, self.latest)
            self.expire()
        for amount in (1, 2)[: 1 + twice]:
            self.settle(id_, [("day", amount), ("minute", amount)], 0)

    @rule(
        id_=reservations,
        used=st.none() | st.lists(st.tuples(LINES, AMOUNTS), max_size=2),
        ago=st.sampled_from([0, SECOND, 2 * MINUTE]),
    )
    def settle(self, id_, used, ago):
        one = self.reserved(id_)
        charges = used if used is None else [Charge(self.cell(line), n) for line, n in used]
        used_at = self.moment - timedelta(microseconds=ago)
        try:
            self.do(ledger.settle, id_, self.moment, charges, used_at=used_at)
        except Closed:
            assert one.state in GIVEN_BACK
            return
        assert one.state not in GIVEN_BACK
        if one.state == "SETTLED":
            return
        spent = {}
        for charge in charges if charges is not None else []:
            spent[charge.cell] = spent.get(charge.cell, 0) + charge.amount
        spent = dict(one.holds) if charges is None else spent
        self.cells |= set(spent)
        for cell in one.holds.keys() | spent.keys():
            amount, at = spent.get(cell, 0), self.now - ago
            if one.state == "POSTED" and cell in one.holds:
                amount, at = amount - one.holds[cell], one.lease_until
            self.model.post(self.now, one.id, cell, amount, at)
        one.state = "SETTLED"

    @rule(what=st.sampled_from(["expire", "lock the balances", "rebuild"]))
    def keep_house(self, what):
        getattr(self, what.replace(" ", "_"))()

    def expire(self):
        expired = {one.id: str(one.state) for one in self.do(ledger.expire, self.moment)}
        before = {one.id for one in self.model.reserved if one.state in OPEN}
        self.model.expire(self.now)
        assert expired == {
            one.id: one.state
            for one in self.model.reserved
            if one.id in before and one.state not in OPEN
        }

    def lock_the_balances(self):
        balances = self.do(ledger.balances, self.cells, self.moment)
        self.model.expire(self.now)
        self.model.forget_what_slid_out(self.now)
        assert balances == {cell: self.model.balance(cell, self.now) for cell in self.cells}

    def rebuild(self):
        class RolledBack(Exception):
            pass

        try:
            with self.store.begin() as c:
                before = ledger.glance(c, self.cells, self.moment)
                repairs = audit.rebuild(c, self.moment)
                if self.now == self.latest:
                    assert repairs == []
                    assert ledger.glance(c, self.cells, self.moment) == before
                    return
                for repair in repairs:
                    assert repair.used_is > repair.used_was
                    assert repair.held_is == repair.held_was
                raise RolledBack  # noqa: TRY301 - only to look
        except RolledBack:
            pass

    # What others say

    @rule(line=LINES, used=st.integers(0, 12), ago=st.sampled_from([0, SECOND, 50 * SECOND]))
    def observe(self, line, used, ago):
        cell, as_of = self.cell(line), self.now - ago
        self.cells.add(cell)
        seen = EPOCH + timedelta(microseconds=as_of)
        added = self.do(readings.observe, cell, used, seen, self.moment, "reading")
        # What expired and is not written down yet is still held, and counts as that.
        local = sum(
            use.amount
            for use in self.model.uses
            if use.cell == cell and use.counts and (use.until is None or use.until > self.now)
        )
        later = {}
        for use in self.model.uses:
            counts = use.until is None or use.until > self.now
            if use.cell == cell and use.by and use.at > as_of and counts:
                later[use.by] = later.get(use.by, 0) + use.amount
        expected = used + sum(max(0, amount) for amount in later.values()) - local
        if cell.slide and as_of + cell.slide <= self.now:
            expected = 0
        assert added == max(0, expected)
        self.model.post(self.now, "", cell, added, as_of)

    @rule(line=LINES, limit=st.none() | st.integers(0, 9), how=st.sampled_from(["learn", "set"]))
    def change_limit(self, line, limit, how):
        key = f"p/{line}"
        if how == "set":
            self.limits[line] = limit
        elif limit is None:
            self.do(readings.forget_limit, key, self.moment, "ann", "a new contract")
            self.model.learned.pop(key, None)
        else:
            lower = limit < self.model.learned.get(key, 10)
            assert self.do(readings.learn_limit, key, limit, self.moment, "429") == lower
            if lower:
                self.model.learned[key] = limit

    # Time

    @rule()
    def fill_the_minute_and_let_it_slide_out(self):
        limit = self.limits["minute"]
        id_ = self.reserve_anew([("minute", limit or 4)], DAY, sent=True)
        if isinstance(id_, str):
            self.settle(id_, None, 0)
            self.move_the_clock(MINUTE, back=False)
            self.reserve_anew([("minute", limit or 4)], SECOND, sent=False)

    @rule(by=STEPS, back=st.sampled_from([False, False, False, True]))
    def move_the_clock(self, by, back):
        if back:
            self.lock_the_balances()  # what is over by then stays over
        self.now += -by if back else by
        self.latest = max(self.now, self.latest)

    # What always holds

    @invariant()
    def the_ledger_says_what_the_model_says_and_its_counters_are_sums(self):
        with self.store.read() as c:
            seen = ledger.glance(c, self.cells, self.moment)
            rows = c.execute(SUMS).all()
        assert seen == {cell: self.model.balance(cell, self.now) for cell in self.cells}
        held_by_reservations = {}
        for one in self.model.reserved:
            if one.state in OPEN:
                for cell, amount in one.holds.items():
                    name = cell.key, cell.start
                    held_by_reservations[name] = held_by_reservations.get(name, 0) + amount
        for key, start, used, held, sliding, lasting, held_in_postings in rows:
            assert used == sliding + lasting
            assert held == held_in_postings == held_by_reservations.get((key, start), 0)


def test_the_ledger_is_the_sum_of_what_was_done_to_it(store):
    run_state_machine_as_test(
        lambda: LedgerMachine(store),
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
