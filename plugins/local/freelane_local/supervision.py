"""The one detached supervisor of a folder: how it is started, takes its place, and is given up.

All three hold the folder's start.lock: nobody gives up what is being started, nobody starts twice.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from freelane.errors import StateError
from freelane.runtime import supervise
from freelane.runtime.supervise import ProcessId
from freelane_local import records
from freelane_local.supervised_folder import SupervisedFolder

Work = TypeVar("Work")


def start(module: str, folder: SupervisedFolder, *, env: Mapping[str, str], record: Path) -> None:
    """Start `module` for the folder and record its process; the caller holds start.lock.

    Raises:
        StateError: It cannot be started or recorded; then nothing runs.
    """
    with records.storage(folder.path):
        process = supervise.spawn_detached(
            # -P: the folder that we stand in stays off the module path.
            [sys.executable, "-P", "-m", module, str(folder.path)],
            cwd=folder.path,
            env=env,  # the only way that a secret takes
            output=folder.supervisor_log,
        )
    try:
        records.write_json(record, process.to_json(), durable=False)
    except StateError:
        supervise.terminate(process, grace_s=0.0)  # what is not recorded may not run
        raise


def take_place(
    folder: SupervisedFolder, life_lock: Path, *, look: Callable[[], Work | None]
) -> tuple[int, Work] | None:
    """Become the one supervisor: the descriptor of its lock, to be kept for life, and the work.

    `look` is asked while both locks are held, because whoever takes the folder for abandoned, or
    ends it, holds the first; it tells what is to be supervised. None where nothing is any more, or
    another supervisor is or was there.
    """
    try:
        with records.lock(folder.start_lock):
            held = records.try_lock(life_lock)
            if held is None:
                return None  # another one was faster
            work = look()
            if work is None:
                os.close(held)
                return None
            records.write_json(folder.supervisor, ProcessId.current().to_json(), durable=False)
            return held, work
    except FileNotFoundError:
        return None  # removed between the start and now


def give_up(folder: SupervisedFolder, *, was_started: Callable[[], bool]) -> bool:
    """Whether its maker died before it started anything; then it is removed: nothing ever will.

    `was_started` is asked while start.lock is held.
    """
    try:
        with records.lock(folder.start_lock):
            if was_started():
                return False
            records.discard(folder.path)
    except FileNotFoundError:
        return True  # another look was faster
    return True
