"""The revision that was last asked for: one file, which the supervisor looks at."""

from dataclasses import dataclass
from pathlib import Path

from freelane_local import records


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to serve, and who asked."""

    revision: int
    operation: str

    def write(self, path: Path) -> None:
        """Ask for it.

        Raises:
            StateError: The disk is full, read-only or denies access.
        """
        records.write_json(path, {"revision": self.revision, "operation": self.operation})


def read_wish(path: Path) -> Wish | None:
    """The last one; None where nothing but the deployment itself was asked for.

    Raises:
        StateError: The record is damaged.
    """
    document = records.read_json(path)
    if document is None:
        return None
    number = records.number_in(document, "revision")
    return Wish(int(number or 0), str(document.get("operation")))
