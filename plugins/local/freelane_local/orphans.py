"""Jobs whose supervisor is gone: what it left running is ended, and the end is written."""

import contextlib
from collections.abc import Iterator

from freelane.clock import Clock
from freelane.model.job import FailureCause
from freelane.runtime import supervise
from freelane.runtime.supervise import ProcessId
from freelane_local import records
from freelane_local.job_folder import JobFolder, is_final


def settle(folder: JobFolder, clock: Clock) -> records.Document:
    """The status; a job whose supervisor is gone gets its end written first.

    Raises:
        StateError: A record is damaged, or the end cannot be written.
    """
    status = records.read_json(folder.status) or {}
    if is_final(status) or not _is_orphaned(folder):
        return status
    with records.lock(folder.start_lock):
        status = records.read_json(folder.status) or {}  # it may just have ended
        if is_final(status) or not _is_orphaned(folder):
            return status
        _end_left_over(folder)
        stopped = folder.stop.exists()
        write_end(
            folder,
            "STOPPED" if stopped else "FAILED",
            clock,
            reason=_why(folder),
            cause=None if stopped else FailureCause.INTERRUPTED,
        )
        return records.read_json(folder.status) or {}


def write_end(
    folder: JobFolder, state: str, clock: Clock, *, reason: str, cause: FailureCause | None = None
) -> None:
    """Write the end of a job that has no supervisor; the caller holds start.lock."""
    status = records.read_json(folder.status) or {}
    ended = clock.now().timestamp()
    folder.write_status(
        {**status, "state": state, "detail": "", "reason": reason, "cause": cause}
        | {"ended": ended}
    )


def end_all(folder: JobFolder) -> None:
    """End all that works for the folder, whatever its records say."""
    supervise.end_processes(list(_supervisors_of(folder)), grace_s=1.0)
    supervise.end_processes(list(_processes_of(folder)), grace_s=1.0)


def _is_orphaned(folder: JobFolder) -> bool:
    supervisor = folder.supervised_by() or records.read_process(folder.spawned)
    if supervisor is None or supervisor.alive():
        return False
    # One that lost a race to start has left; the one that won may have written meanwhile.
    winner = folder.supervised_by()
    return winner is None or not winner.alive()


def _end_left_over(folder: JobFolder) -> None:
    """End what a killed supervisor left running, however it was started."""
    left = records.read_process(folder.process)
    if left is not None:
        supervise.terminate(left, grace_s=1.0)
    supervise.end_processes(list(_processes_of(folder)), grace_s=1.0)


def _processes_of(folder: JobFolder) -> Iterator[ProcessId]:
    """Processes that carry the job's own output folder in their environment."""
    import psutil  # noqa: PLC0415 - only after a supervisor was killed

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("FREELANE_OUTPUT_DIR") == str(folder.output):
                found = ProcessId.of(process.pid)
                if found is not None:
                    yield found


def _supervisors_of(folder: JobFolder) -> Iterator[ProcessId]:
    """Processes that were started to supervise the folder, whatever its records say."""
    import psutil  # noqa: PLC0415 - only where a record is damaged

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            if "freelane_local.job_supervisor" in words and words[-1] == str(folder.path):
                found = ProcessId.of(process.pid)
                if found is not None:
                    yield found


def _why(folder: JobFolder) -> str:
    said = ""
    with contextlib.suppress(OSError):
        said = folder.supervisor_log.read_text("utf-8", errors="replace").strip()
    last = f" (its last words: {said.splitlines()[-1]})" if said else ""
    if folder.supervisor.exists():
        return f"the supervisor process is gone: it was killed, or the machine restarted{last}"
    return f"the supervisor could not start{last}"
