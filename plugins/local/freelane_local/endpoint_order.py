"""What a revision's record asks of the supervisor."""

from collections.abc import Mapping
from pathlib import Path

from freelane_local import records
from freelane_local.records import list_in, mapping_in, number_in


class Order:
    """One revision's wishes."""

    def __init__(self, record: records.Document) -> None:
        self.server = mapping_in(record, "server")
        """What its server is to be, see `server_order`."""
        self.python = str(record["python"])
        self.environment = mapping_in(record, "environment")
        self.env = {name: str(value) for name, value in mapping_in(record, "env").items()}
        self.secrets = [str(name) for name in list_in(record, "secrets")]
        self.variables = [str(name) for name in list_in(record, "variables")]
        """Of the server itself: to count its rate, to ask its engine."""
        self.gpus = mapping_in(record, "gpus")
        memory = number_in(record, "memory_bytes")
        self.memory_bytes = None if memory is None else int(memory)
        self.grace_s = number_in(self.server, "grace_s") or 0.0
        self.start_timeout_s = number_in(self.server, "start_timeout_s") or 0.0
        self.logs_requests = bool(record["access_log"])
        self.note = str(record["note"])

    @property
    def handed_over(self) -> list[str]:
        """The variables that stand in no file."""
        return [*self.secrets, *self.variables]


def server_order(
    wished: Mapping[str, object],
    *,
    bundle: Path,
    python: str,
    cards: list[str],
    files: Mapping[str, Path | None],
    expires_at: float | None,
) -> records.Document:
    """The whole order of a server; `files` are those of its fields that name one."""
    return {
        **wished,
        "bundle": str(bundle),
        "python": python,
        "cards": cards,
        **{name: None if path is None else str(path) for name, path in files.items()},
        "expires_at": expires_at,
    }
