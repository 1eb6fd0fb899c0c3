"""What the folders of jobs and of endpoints have alike: both are kept by a supervisor."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SupervisedFolder:
    """Where it all lies; nothing need exist yet."""

    path: Path

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def supervisor(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself printed."""
        return self.path / "supervisor.log"

    @property
    def start_lock(self) -> Path:
        """Held while a supervisor is started or takes its place, and while one is given up."""
        return self.path / "start.lock"
