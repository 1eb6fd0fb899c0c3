"""What lies in a job's folder, and who writes it.

spec.json        the submitter, before the folder has its name: all that is needed to go on
bundle/          the submitter: the user's code and what runs beside it
spawned.json     the submitter: the supervisor that it started
supervisor.json  the supervisor, once, while it holds supervisor.lock
process.json     the supervisor: the user's process
status.json      the supervisor, from then on
stop             whoever wants the job to end
log/ output/ model/ inputs/     what the run reads and writes
"""

from dataclasses import dataclass
from pathlib import Path

from freelane.errors import StateError
from freelane.runtime.supervise import ProcessId
from freelane_local import records
from freelane_local.supervised_folder import SupervisedFolder

RESERVE_BYTES = 64 * 2**10
_FINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


@dataclass(frozen=True, slots=True)
class JobFolder(SupervisedFolder):
    """The paths, and what the small files say."""

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def output(self) -> Path:
        return self.path / "output"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def spawned(self) -> Path:
        return self.path / "spawned.json"

    @property
    def life_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def reserve(self) -> Path:
        """Room for the last status of a job that filled the disk."""
        return self.path / "reserve"

    def write_status(self, document: records.Document, *, durable: bool = True) -> None:
        """Write it, if need be in the room that was kept for it.

        Raises:
            StateError: It cannot be written even so.
        """
        try:
            records.write_json(self.status, document, durable=durable)
        except StateError:
            if not self.reserve.exists():
                raise
            self.reserve.unlink()
            records.write_json(self.status, document, durable=durable)

    def is_final(self) -> bool:
        """Whether the job has ended."""
        return is_final(records.read_json(self.status))

    def supervised_by(self) -> ProcessId | None:
        """The supervisor that has taken the job on; None before one has."""
        return records.read_process(self.supervisor)


def is_final(status: records.Document | None) -> bool:
    """Whether the status says that nothing more will happen."""
    return status is not None and status.get("state") in _FINAL
