"""What an endpoint serves, served before, or is to serve: one numbered folder each.

    record.json  which operation wrote it, the artifact, and all that its server is started with
    bundle/      the user's code and what runs beside it
    order.json   what its server was last told to be
    ready.json   written by the server once it answers, or why it cannot

What serves and what served before it are kept; an older one, and one that failed, is removed.
"""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from freelane_local import records

FIRST = 1
"""The number of what the endpoint was deployed with."""


@dataclass(frozen=True, slots=True)
class RevisionFolder:
    """Where one of them lies; nothing need exist yet."""

    path: Path

    @classmethod
    def of(cls, revisions: Path, number: int) -> "RevisionFolder":
        """The folder of that number."""
        return cls(revisions / str(number))

    @property
    def number(self) -> int:
        return int(self.path.name)

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def order(self) -> Path:
        return self.path / "order.json"

    @property
    def ready(self) -> Path:
        return self.path / "ready.json"


def listed(revisions: Path) -> list[RevisionFolder]:
    """All that are whole, the oldest first."""
    found = [RevisionFolder(path) for path in records.folders(revisions) if path.name.isdecimal()]
    return sorted(found, key=lambda revision: revision.number)


def written_by(revisions: Path, operation: str) -> RevisionFolder | None:
    """The revision that an operation wrote."""
    for revision in listed(revisions):
        if (records.read_json(revision.record) or {}).get("operation") == operation:
            return revision
    return None


def prune(revisions: Path, *, keep: Collection[int]) -> None:
    """Remove all others; the caller holds the endpoint's update.lock."""
    records.sweep(revisions)
    for revision in listed(revisions):
        if revision.number not in keep:
            shutil.rmtree(revision.path, ignore_errors=True)
