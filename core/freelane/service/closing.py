"""The accounts of what is gone: closed at the latest when a cleanup no longer finds it."""

from collections import Counter
from collections.abc import Callable, Collection

from sqlalchemy import Connection

from freelane.model.quota import QuotaKey
from freelane.quota import ledger
from freelane.quota.ledger import State, accruals
from freelane.quota.ledger.accruals import Accrual
from freelane.service.accounting import Accounting
from freelane.service.cleanup_report import CleanupReport
from freelane.service.sweeping import Listing
from freelane.service.workspace import Workspace
from freelane.state import operations

LOOKS = 2
"""Absent needs two misses."""


class Closing:
    """Lets holds lapse, goes on charging what stands, and closes the account of what is gone."""

    def __init__(self, workspace: Workspace, accounting: Accounting) -> None:
        self._workspace = workspace
        self._accounting = accounting

    def expire(self, report: CleanupReport) -> None:
        """Give back what lapsed unsent, post in full what was sent and never settled."""
        closed: Counter[State] = Counter()
        while expired := self._accounting.expire():
            closed.update(reservation.state for reservation in expired)
        for state, count in sorted(closed.items()):
            report.repaired.append(f"reservations past their lease are {state}: {count}")

    def accrue(self, report: CleanupReport) -> None:
        """Charge what stands past the time that was held for it."""
        late = self._accounting.accrue()
        if late:
            report.repaired.append(f"charged the time of what stands past its end: {late}")

    def close_gone(
        self,
        look: Callable[[Collection[str]], Listing],
        wanted: Callable[[], Collection[str]],
        report: CleanupReport,
    ) -> None:
        """Close the accounts of what no record tells of and no listing shows.

        What is recorded is closed by its record. `look` asks providers again: one that does not
        answer may still bill, so its accounts stay open.
        """
        left = self._without_record(wanted())
        for _ in range(LOOKS):
            if not left:
                return
            shown = look({accrual.provider for accrual in left})
            standing = {
                (ours.provider, ours.operation) for ours in shown.standing if not ours.guards
            }
            left = [
                accrual
                for accrual in left
                if accrual.provider in shown.answered
                and (accrual.provider, accrual.operation) not in standing
            ]
        workspace = self._workspace
        for accrual in left:
            # At the latest its kill switch ended it, unless it was seen standing past that.
            ended = min(workspace.clock.now(), accrual.until)
            with workspace.store.begin() as connection:
                self._accounting.close(connection, accrual.operation, ended)
            report.repaired.append(
                f"operation {accrual.operation[:8]} on {accrual.provider} is charged no longer: "
                "what it made is gone"
            )

    def _without_record(self, wanted: Collection[str]) -> list[Accrual]:
        workspace = self._workspace
        with workspace.store.read() as connection:
            standing = accruals.standing(connection, workspace.owner)
            return [
                accrual
                for accrual in standing
                if accrual.operation not in wanted and self._is_here(connection, accrual)
            ]

    def _is_here(self, connection: Connection, accrual: Accrual) -> bool:
        """Whether it is of this world, emulated or real: the names are the same in both."""
        workspace = self._workspace
        row = operations.get(connection, workspace.owner, accrual.operation)
        if row is not None:
            return row.operation.emulated == workspace.emulated
        held = ledger.get(connection, accrual.reservation)
        keys = [QuotaKey.parse(hold.cell.key) for hold in held.holds] if held is not None else []
        return any(key.emulated == workspace.emulated for key in keys)
