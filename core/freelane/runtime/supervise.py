"""Runs, limits and ends the user's processes.

It works inside detached processes that must start fast, so it imports nothing heavy: psutil is
loaded only once the user's process has been started.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LOOK_S = 0.1  # how often exit, stop and time are looked at while nothing is printed
_CHUNK_BYTES = 256 * 1024
_WATCH_CAPPED_S = 0.1
_WATCH_FREE_S = 1.0
_SEARCH_S = 0.5  # new processes are looked for no more often
_LEFTOVER_GRACE_S = 2.0
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use."""

    max_runtime_s: float | None = None
    memory_bytes: int | None = None
    """Resident memory of all its processes together."""
    grace_s: float = 10.0
    """Between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended: `cause` is `exited` where nobody ended it."""

    code: int | None
    """None where a signal ended it."""
    signal: int | None
    cause: Literal["exited", "max_runtime", "memory", "stopped"]
    peak_rss_bytes: int
    """As sampled: a short peak may be missed."""


def run(  # noqa: PLR0913 - each is one fact of the run
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    pass_fds: Sequence[int] = (),
    on_start: Callable[[ProcessId], None] | None = None,
) -> Exit:
    """Run a command in a session of its own until it ends; nothing that it started stays.

    `on_output` gets stdout and stderr, interleaved, as they come; `should_stop` is asked several
    times a second. To end it, SIGTERM goes to the command itself, as a container's runtime does,
    and after the grace SIGKILL to all that it started; too much memory is SIGKILL at once.

    Raises:
        OSError: The command cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - the caller's command is what this is for
        argv,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        bufsize=0,
    )
    with process:
        watched = _Run(process, limits, on_output)
        try:
            if on_start is not None:
                on_start(ProcessId.of(process.pid) or ProcessId(process.pid, 0.0))
            return watched.until_end(should_stop)
        finally:
            watched.end_all()


class _Run:
    """One run, from its start to its last process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        limits: Limits,
        on_output: Callable[[bytes], None],
    ) -> None:
        self._process = process
        self._limits = limits
        self._on_output = on_output
        self._tree = _Tree(process.pid)
        self._cause: Literal["exited", "max_runtime", "memory", "stopped"] = "exited"
        self._began = time.monotonic()
        self._kill_at: float | None = None
        self._peak_rss_bytes = 0
        self._watch_at = 0.0
        assert process.stdout is not None  # noqa: S101 - it was asked for
        self._pipe = process.stdout.fileno()
        os.set_blocking(self._pipe, False)

    def until_end(self, should_stop: Callable[[], bool]) -> Exit:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            is_open = True
            look_at = 0.0
            while True:
                if is_open:
                    if selector.select(_LOOK_S) and not self._read_once():
                        selector.unregister(self._pipe)
                        is_open = False
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(_LOOK_S)
                if self._process.poll() is not None:
                    break
                now = time.monotonic()
                if now >= look_at:  # a flood of output must not ask for the stop file each time
                    look_at = now + _LOOK_S
                    self._look(now, should_stop)
        self.end_all()
        self._drain()
        code = self._process.returncode
        return Exit(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            cause=self._cause,
            peak_rss_bytes=self._peak_rss_bytes,
        )

    def _look(self, now: float, should_stop: Callable[[], bool]) -> None:
        if now >= self._watch_at:
            capped = self._limits.memory_bytes is not None
            self._watch_at = now + (_WATCH_CAPPED_S if capped else _WATCH_FREE_S)
            rss_bytes = self._tree.rss_bytes()
            self._peak_rss_bytes = max(self._peak_rss_bytes, rss_bytes)
            if self._limits.memory_bytes is not None and rss_bytes > self._limits.memory_bytes:
                self._cause = "memory"
                self._kill_at = now
        if self._kill_at is None:
            longest_s = self._limits.max_runtime_s
            if longest_s is not None and now - self._began >= longest_s:
                self._ask_to_end("max_runtime", now)
            elif should_stop():
                self._ask_to_end("stopped", now)
        elif now >= self._kill_at:
            self._tree.send(signal.SIGKILL)

    def _ask_to_end(self, cause: Literal["max_runtime", "stopped"], now: float) -> None:
        self._cause = cause
        self._kill_at = now + self._limits.grace_s
        self._process.terminate()

    def _read_once(self) -> bool:
        """Hand on what is there; False at the end of the output."""
        try:
            chunk = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._on_output(chunk)
        return bool(chunk)

    def _drain(self) -> None:
        """What stands in the pipe; a process that got away may hold its other end open."""
        give_up = time.monotonic() + _LEFTOVER_GRACE_S  # what got away may print for ever
        while time.monotonic() < give_up:
            try:
                chunk = os.read(self._pipe, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._on_output(chunk)

    def end_all(self) -> None:
        """End the command, if it still runs, and whatever it left behind."""
        if self._process.poll() is None:  # only where the caller's own code raised
            self._tree.send(signal.SIGKILL)
            self._process.wait()
        end_processes(self._tree.members(), grace_s=min(_LEFTOVER_GRACE_S, self._limits.grace_s))


class _Tree:
    """All processes of a session, and all descendants of its leader ever seen."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._seen: set[ProcessId] = set()
        self._search_at = 0.0

    def members(self) -> list[ProcessId]:
        """Those that still run."""
        for pid in {*_session(self._leader), *_descendants(self._leader)}:
            process = ProcessId.of(pid)
            if process is not None:
                self._seen.add(process)
        self._seen = {process for process in self._seen if process.alive()}
        return list(self._seen)

    def rss_bytes(self) -> int:
        """Resident memory of them all; what they share counts in each."""
        import psutil  # noqa: PLC0415 - the user's process runs already

        now = time.monotonic()
        if now >= self._search_at:  # reading the whole process table costs a thousand times more
            self._search_at = now + _SEARCH_S
            self.members()
        total = 0
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(process.pid).memory_info().rss
        return total

    def send(self, number: signal.Signals) -> None:
        for process in self.members():
            send(process, number)


def _session(leader: int) -> Iterator[int]:
    import psutil  # noqa: PLC0415 - the user's process runs already

    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                yield pid


def _descendants(pid: int) -> list[int]:
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
        processes.update(_ids(_descendants(process.pid)))
    end_processes(list(processes), grace_s=grace_s)


def _session_of(leader: ProcessId) -> set[ProcessId]:
    """Processes of the session that `leader` opened, even where it is gone.

    A session's number is not given to a new process while a member lives; a member older than the
    leader shows that the number is that of another, earlier session.
    """
    now_there = ProcessId.of(leader.pid)
    if now_there is not None and now_there != leader:
        return set()
    found = _ids(_session(leader.pid))
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


def end_descendants(*, grace_s: float) -> None:
    """End every process below this one."""
    for _ in range(5):  # what is ending may still start something
        below = _ids(_descendants(os.getpid()))
        if not below:
            return
        end_processes(list(below), grace_s=grace_s)
