"""Kill switches of this machine: a file that the supervisor of what it ends looks at."""

import time
from datetime import datetime
from pathlib import Path

from freelane.model.operation import Operation, Verb
from freelane.waiting import Deadline
from freelane_local import records
from freelane_local.timer import Switch, read_switch, switch_of

_FOLDERS = {Verb.TRAIN: "jobs", Verb.DEPLOY: "endpoints"}
_REMEMBERED_S = 7 * 86_400


class LocalKillSwitch:
    """The port; `root` holds the local cloud and may not exist yet."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def arm(self, operation: Operation, at: datetime, *, deadline: Deadline) -> None:
        deadline.check("arming the kill switch")
        file = self._file(operation)
        records.make_folder(file.parent)
        self._sweep(file.parent)
        moment = at.timestamp()
        switch = Switch(operation.id, moment, moment - time.time())
        records.write_json(file, switch.to_json())

    def disarm(self, operation: Operation, *, deadline: Deadline) -> None:
        deadline.check("taking the kill switch away")
        file = self._file(operation)
        with records.storage(file):
            try:
                file.unlink()
            except FileNotFoundError:
                return
            records.sync_folder(file.parent)

    def _file(self, operation: Operation) -> Path:
        return switch_of(self._root / _FOLDERS[operation.verb] / operation.resource)

    def _sweep(self, folder: Path) -> None:
        """Forget switches whose time was over days ago: what they end is long gone."""
        oldest = time.time() - _REMEMBERED_S
        for file in folder.glob("*.json"):
            if file.stat().st_mtime > oldest:
                continue
            switch = read_switch(file)
            if switch is not None and switch.at < oldest:
                file.unlink(missing_ok=True)
