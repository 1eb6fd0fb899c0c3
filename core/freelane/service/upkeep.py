"""Leaving nothing behind: what is recorded, what is shown, and what is ended of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from freelane.errors import FreelaneError
from freelane.service.accounting import Accounting
from freelane.service.cleanup_report import CleanupReport
from freelane.service.closing import Closing
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.job_records import JobRecords
from freelane.service.reconciling import Reconciler
from freelane.service.serving import ServingService
from freelane.service.sweeping import AT_MOST, Doomed, Ours, Sweep, Sweeper, moments, unguarding
from freelane.service.training import TrainingService
from freelane.service.workspace import Workspace

__all__ = ["CleanupReport", "UpkeepService"]


class UpkeepService:
    """Reconciles and cleans up."""

    def __init__(
        self,
        workspace: Workspace,
        training: TrainingService,
        serving: ServingService,
        job_records: JobRecords,
        endpoint_records: EndpointRecords,
        accounting: Accounting,
    ) -> None:
        self._sweeper = Sweeper(workspace)
        self._closing = Closing(workspace, accounting)
        self._reconciler = Reconciler(workspace, training, serving, job_records, endpoint_records)

    def cleanup(
        self,
        providers: Sequence[str],
        *,
        delete: bool = False,
        older_than: timedelta | None = None,
        at_most: int = AT_MOST,
    ) -> CleanupReport:
        """Bring the records up to date, then list what is stray; delete it if asked."""
        how = Sweep(delete=delete, older_than=older_than, at_most=at_most)
        report = CleanupReport()
        self._closing.expire(report)
        self._reconciler.settle_operations(report)
        self._reconciler.refresh_records(report)
        listed = self._sweeper.ours(providers, report).standing
        # Asked after the listing: an intent is written before its resource is made, so what another
        # command has made by now is among them.
        wanted = self._reconciler.wanted()
        ends = moments(listed)
        doomed = []
        for ours in listed:
            why = None if ours.guards else self._sweeper.why_stray(ours, wanted, ends)
            if why is not None:
                doomed.append(Doomed(ours, why))
        self._bring_accounts_up(report)
        if not delete:
            self._sweeper.sweep([*doomed, *unguarding(listed, doomed, wanted)], how, report)
            return report
        ended = self._sweeper.sweep(doomed, how, report)
        self._reconciler.refresh_records(report, only={each.ours.operation for each in ended})
        self._end_idle_guards(listed, ended, how, report)
        return report

    def rebuild(self, providers: Sequence[str]) -> CleanupReport:
        """Record anew, from their tags, the jobs and endpoints that the providers still know."""
        report = CleanupReport()
        for ours in self._sweeper.ours(providers, report).ours:
            try:
                said = self._reconciler.record(ours.provider, ours.resource)
            except FreelaneError as error:
                report.problem(f"{ours}: {error.message}")
                continue
            if said is not None:
                report.repaired.append(said)
        return report

    def down(
        self,
        providers: Sequence[str],
        *,
        delete: bool = False,
        older_than: timedelta | None = None,
        at_most: int = AT_MOST,
    ) -> CleanupReport:
        """List everything of this owner that stands, recorded or not; end it if asked."""
        how = Sweep(delete=delete, older_than=older_than, at_most=at_most)
        report = CleanupReport()
        listed = self._sweeper.ours(providers, report).standing
        doomed = [Doomed(ours, "asked to end everything") for ours in listed if not ours.guards]
        if not delete:
            under_way = self._reconciler.under_way()
            self._sweeper.sweep([*doomed, *unguarding(listed, doomed, under_way)], how, report)
            return report
        self._bring_accounts_up(report)
        ended = self._sweeper.sweep(doomed, how, report)
        self._reconciler.settle_operations(report)
        self._reconciler.refresh_records(report)
        self._end_idle_guards(listed, ended, how, report)
        return report

    def _bring_accounts_up(self, report: CleanupReport) -> None:
        """Close what is gone without a record first: whatever is open after that stands."""
        self._closing.close_gone(
            lambda providers: self._sweeper.ours(providers, report),
            self._reconciler.wanted,
            report,
        )
        self._closing.accrue(report)

    def _end_idle_guards(
        self, listed: Sequence[Ours], ended: Sequence[Doomed], how: Sweep, report: CleanupReport
    ) -> None:
        """End the kill switches that have nothing left to end, and the accounts of what is gone."""
        self._bring_accounts_up(report)
        idle = unguarding(listed, ended, self._reconciler.wanted())
        if not idle:
            return
        # Absent needs two misses; the records are read after the listing, as in `cleanup`.
        again = self._sweeper.ours({each.ours.provider for each in idle}, report).standing
        still_idle = {each.ours.key for each in unguarding(again, (), self._reconciler.wanted())}
        there = {ours.key for ours in again}
        waiting = [each for each in idle if each.ours.key in there - still_idle]
        if waiting:
            report.remarks.append(
                f"{len(waiting)} kill switches stay until what they are to end is gone: "
                + ", ".join(each.ours.resource.name for each in waiting[:5])
            )
        over = [each for each in idle if each.ours.key in still_idle]
        room = how.at_most - len(report.strays)
        self._sweeper.sweep(over, replace(how, at_most=room), report)
