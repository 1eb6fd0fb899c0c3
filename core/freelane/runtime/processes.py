"""Processes: which one it is, starting one that outlives us, ending what one left behind.

It works inside detached processes that must start fast, so psutil is loaded only where it is used.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no later one of the same number: a pid and when it started."""

    pid: int
    started: float
    """Only compared. Linux: seconds since boot, which no change of the wall clock moves."""

    @classmethod
    def current(cls) -> "ProcessId":
        """This very process."""
        own = cls.of(os.getpid())
        if own is None:
            raise RuntimeError("this process is not in the process table")
        return own

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has the number now; None if there is none, or it has ended."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        """Whether it still runs; one that ended and was not waited for does not."""
        if _started(self.pid) == self.started:
            return True
        _reap(self.pid)
        return False

    def to_json(self) -> dict[str, float]:
        """For a record on disk."""
        return {"pid": self.pid, "started": self.started}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> "ProcessId":
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        pid, started = document.get("pid"), document.get("started")
        if type(pid) is not int or not isinstance(started, int | float):
            raise ValueError(f"not a process: {document!r}")
        return cls(pid, float(started))


def _started(pid: int) -> float | None:
    """When the process with that number started; None if there is none or it is a zombie."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The name in brackets may itself hold brackets and blanks.
        fields = stat[stat.rindex(b")") + 2 :].split()
        if fields[0] in {b"Z", b"X"}:
            return None
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil  # noqa: PLC0415 - costs more than the rest of the start together

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _reap(pid: int) -> None:
    """Collect an ended child of ours, so that a long-lived parent gathers no zombies."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)


def spawn_detached(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path
) -> ProcessId:
    """Start a process that outlives this one: a session of its own, no input, output to a file.

    Raises:
        OSError: It cannot be started, or `output` cannot be written.
    """
    with output.open("ab") as sink:
        process = subprocess.Popen(  # noqa: S603 - argv is ours
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    # Popen would warn that its child still runs, which is the purpose. `alive` reaps it.
    process.returncode = 0
    # A zero start names a process that ended before it could be looked at: never alive.
    return ProcessId.of(process.pid) or ProcessId(process.pid, 0.0)


def session(leader: int) -> Iterator[int]:
    """The numbers of the processes in the session of that number."""
    import psutil  # noqa: PLC0415 - the user's process runs already

    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                yield pid


def descendants(pid: int) -> list[int]:
    """The numbers of all processes below one."""
    import psutil  # noqa: PLC0415 - the user's process runs already

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def send(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal; nothing if it is not that process any more."""
    if process.alive():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def end_processes(processes: Sequence[ProcessId], *, grace_s: float) -> None:
    """SIGTERM to each, SIGKILL to those that still run after the grace."""
    for process in processes:
        send(process, signal.SIGTERM)
    _wait_for(processes, grace_s)
    for process in processes:
        send(process, signal.SIGKILL)
    _wait_for(processes, 5.0)  # the kernel may take a moment to free a large process


def _wait_for(processes: Sequence[ProcessId], longest_s: float) -> None:
    give_up = time.monotonic() + longest_s
    pause_s = 0.002
    while any(process.alive() for process in processes) and time.monotonic() < give_up:
        time.sleep(pause_s)
        pause_s = min(0.05, pause_s * 2)


def terminate(process: ProcessId, *, grace_s: float) -> None:
    """End a session's leader and its session: SIGTERM, grace, SIGKILL.

    Nothing happens if the leader is not that process any more and nothing of its session is left.
    """
    processes = _session_of(process)
    if process.alive():
        processes.add(process)
        processes.update(_ids(descendants(process.pid)))
    end_processes(list(processes), grace_s=grace_s)


def _session_of(leader: ProcessId) -> set[ProcessId]:
    """Processes of the session that `leader` opened, even where it is gone.

    A session's number is not given to a new process while a member lives; a member older than the
    leader shows that the number is that of another, earlier session.
    """
    now_there = ProcessId.of(leader.pid)
    if now_there is not None and now_there != leader:
        return set()
    found = _ids(session(leader.pid))
    return {process for process in found if process.started >= leader.started}


def _ids(pids: Iterator[int] | list[int]) -> set[ProcessId]:
    return {process for process in map(ProcessId.of, pids) if process is not None}


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, where the system can do so.

    Then no process that the user's code detached can get away from `end_descendants`.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - only supervisors pay for it

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants(*, grace_s: float, spare: Collection[ProcessId] = ()) -> None:
    """End every process below this one but those of `spare`."""
    for _ in range(5):  # what is ending may still start something
        below = _ids(descendants(os.getpid())).difference(spare)
        if not below:
            return
        end_processes(list(below), grace_s=grace_s)
