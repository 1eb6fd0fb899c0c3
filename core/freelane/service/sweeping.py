"""Ending what stands at the providers and is to end, the guards last.

A kill switch outlives what it guards: it goes once two listings in a row no longer show that, and
nothing recorded may still make it. Were it to go first, and the rest of a removal to fail, nothing
would end what bills.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from freelane.contract.provider import Inventory
from freelane.errors import FreelaneError
from freelane.model.operation import TAG_OPERATION, Resource, ResourceKind
from freelane.service.cleanup_report import CleanupReport, Stray
from freelane.service.inventories import expiry, runs, shown_by
from freelane.service.workspace import Workspace

AT_MOST = 50
"""So many resources are ended by one command, unless it says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How far to go."""

    delete: bool
    """False only lists."""
    older_than: timedelta | None = None
    """Only what was made so long ago; what does not tell its age does not count as older."""
    at_most: int = AT_MOST


@dataclass(frozen=True, slots=True)
class Ours:
    """One resource with our owner's tag, and whom to ask to remove it."""

    provider: str
    inventory: Inventory
    resource: Resource

    @property
    def operation(self) -> str | None:
        """The operation that made it, where its tags tell."""
        return self.resource.tags.get(TAG_OPERATION)

    @property
    def key(self) -> tuple[str, ResourceKind, str, str]:
        """What tells it from everything else, in this listing and in the next."""
        resource = self.resource
        return self.provider, resource.kind, resource.name, resource.ref

    @property
    def guards(self) -> bool:
        """Whether it only ends something else."""
        return self.resource.kind is ResourceKind.KILL_SWITCH

    @property
    def stands(self) -> bool:
        """Whether it can be ended: models stay, and what has ended is only a record."""
        return self.resource.kind is not ResourceKind.ARTIFACT and runs(self.resource)

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.provider}/{self.resource.name}"


@dataclass(frozen=True, slots=True)
class Doomed:
    """One that is to end, and why."""

    ours: Ours
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the providers showed of ours."""

    ours: Sequence[Ours]
    answered: frozenset[str]
    """The providers that could be asked."""

    @property
    def standing(self) -> list[Ours]:
        """What can be ended."""
        return [ours for ours in self.ours if ours.stands]


class Sweeper:
    """Lists what is ours and ends what it is told to; touches nothing without our owner's tag."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def ours(self, providers: Iterable[str], report: CleanupReport) -> Listing:
        """What the providers show with our owner's tag, and only that."""
        found: list[Ours] = []
        answered = set()
        for provider in providers:
            inventory, shown = shown_by(self._workspace, provider, report.problem)
            if inventory is not None:
                answered.add(provider)
            found += [
                Ours(provider, inventory, resource)
                for resource in shown
                if inventory is not None and resource.owner == self._workspace.owner
            ]
        return Listing(found, frozenset(answered))

    def why_stray(
        self,
        ours: Ours,
        wanted: Mapping[str, datetime | None],
        ends: Mapping[tuple[str, str | None], datetime],
    ) -> str | None:
        """Why it is to end; None where something recorded wants it and its time is not over.

        Its tag says when that was to be as it was made. One that was kept longer has a record or a
        kill switch (`ends`) that says so.
        """
        tagged, operation = expiry(ours.resource), ours.operation or ""
        if tagged is not None:
            switch = ends.get((ours.provider, ours.operation), tagged)
            over = max(tagged, wanted.get(operation) or tagged, switch)
            if over <= self._workspace.clock.now():
                return f"its time was over at {over:%Y-%m-%d %H:%M} UTC"
        return None if operation in wanted else "nothing recorded wants it"

    def sweep(self, doomed: Iterable[Doomed], how: Sweep, report: CleanupReport) -> list[Doomed]:
        """End them, or list them; returns those that were ended.

        What bills comes first and the oldest before the newest, so that these are not what is left
        where there are more than `at_most`.
        """
        chosen = sorted(self._old_enough(doomed, how, report), key=_urgency)
        room = max(0, how.at_most)
        report.left += len(chosen[room:])
        if how.delete:
            return [each for each in chosen[:room] if self._end(each, report)]
        report.strays += [_stray(each, "would delete") for each in chosen[:room]]
        return []

    def _old_enough(
        self, doomed: Iterable[Doomed], how: Sweep, report: CleanupReport
    ) -> Iterator[Doomed]:
        if how.older_than is None:
            yield from doomed
            return
        latest = self._workspace.clock.now() - how.older_than
        for each in doomed:
            created = each.ours.resource.created
            if created is None:
                report.remarks.append(
                    f"{each.ours} stays: {each.ours.provider} does not tell how old it is, so it "
                    "is not taken as old"
                )
            elif created <= latest:
                yield each

    def _end(self, each: Doomed, report: CleanupReport) -> bool:
        ours = each.ours
        try:
            ours.inventory.remove(ours.resource, deadline=self._workspace.deadline())
        except FreelaneError as error:
            report.problem(f"{ours}: {error.message}")
            report.strays.append(_stray(each, f"failed: {error.message}"))
            return False
        report.strays.append(_stray(each, "deleted"))
        return True


def moments(listed: Iterable[Ours]) -> dict[tuple[str, str | None], datetime]:
    """When each kill switch fires, as its tag tells: by provider and operation."""
    return {
        (ours.provider, ours.operation): at
        for ours in listed
        if ours.guards and (at := expiry(ours.resource)) is not None
    }


def unguarding(
    listed: Collection[Ours], ended: Collection[Doomed], wanted: Collection[str]
) -> list[Doomed]:
    """The kill switches that have nothing left to end, once what has `ended` is gone.

    One whose operation is wanted stays: it is armed before there is anything to guard.
    """
    gone = {each.ours.key for each in ended}
    guarded = {
        (ours.provider, ours.operation)
        for ours in listed
        if ours.stands and not ours.guards and ours.key not in gone
    }
    return [
        Doomed(ours, "what it was to end is gone")
        for ours in listed
        if ours.guards
        and ours.operation not in wanted
        and (ours.provider, ours.operation) not in guarded
    ]


def _urgency(each: Doomed) -> tuple[bool, bool, datetime, str]:
    resource = each.ours.resource
    created = resource.created or datetime.max.replace(tzinfo=UTC)
    return each.ours.guards, not resource.billing, created, str(each.ours)


def _stray(each: Doomed, action: str) -> Stray:
    return Stray.of(each.ours.provider, each.ours.resource, each.why, action)
