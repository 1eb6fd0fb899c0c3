"""The process that runs one job: `python -m freelane_local.job_supervisor <folder>`.

It outlives the command line and stands between it and the user's first line, so it imports next
to nothing before the user's process has started.
"""

import contextlib
import errno
import os
import signal
import sys
import time
from pathlib import Path

from freelane.errors import ConfigError, FreelaneError, StateError
from freelane.runtime import supervise
from freelane.runtime.supervise import Exit, Limits, ProcessId
from freelane_local import job_ending, job_environment, records, supervision, variables
from freelane_local.job_folder import JobFolder
from freelane_local.logs import LogWriter, Mask
from freelane_local.metrics import LiveMetrics, final_metrics
from freelane_local.records import list_in, mapping_in, number_in
from freelane_local.timer import Timer

_LIVE_S = 0.5
_RECENT_BYTES = 16 * 2**10


class _Stopped(Exception):
    """The job is to end before the user's process has started."""


class JobRun:
    """One job from its queue to its end."""

    def __init__(self, folder: JobFolder, spec: records.Document) -> None:
        self._folder = folder
        self._spec = spec
        self._log = LogWriter(folder.log)
        self._mask = Mask(os.environ.get(str(name), "") for name in list_in(spec, "secrets"))
        self._status = records.read_json(folder.status) or {}
        self._live = LiveMetrics(folder.output / "metrics.jsonl")
        self._timer = Timer(folder.path, spec)
        self._held = contextlib.ExitStack()
        self._recent = bytearray()  # a full disk may have kept it out of the log
        self._look_at = 0.0
        self._is_going_down = False

    def run(self) -> None:
        """Run it; whatever happens is in the status afterwards."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            self._say_notes()
            cards = self._cards()
            python = self._python()
            checkpoints = self._checkpoints()
            env = job_environment.prepare(
                self._folder, self._spec, python=python, cards=cards, checkpoints=checkpoints
            )
            exit_ = self._run_script(python, env)
            self._finish(exit_, python, env, checkpoints)
        except _Stopped:
            self._end_stopped()
        except StateError as error:
            self._end("FAILED", reason=error.message, cause="storage")
        except FreelaneError as error:
            self._end("FAILED", reason=error.message, cause="user_code")
        except OSError as error:
            is_disk = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
            self._end(
                "FAILED",
                reason=f"the job could not be run: {error}",
                cause="storage" if is_disk else "provider",
            )

    def _on_sigterm(self, *_: object) -> None:
        self._is_going_down = True

    def _should_stop(self) -> bool:
        return self._is_going_down or self._folder.stop.exists() or self._timer.is_over()

    def _say_notes(self) -> None:
        for note in list_in(self._spec, "notes"):
            self._log.say(str(note))

    def _set(
        self,
        state: str,
        *,
        durable: bool = True,
        document: records.Document | None = None,
        **changes: object,
    ) -> None:
        self._status = {**self._status, "state": state, **changes, **(document or {})}
        self._folder.write_status(self._status, durable=durable)

    def _cards(self) -> list[str]:
        want = mapping_in(self._spec, "gpus")
        if not want:
            return []
        from freelane_local.gpu import Slots, Want  # noqa: PLC0415 - only who asks for a card

        wanted = Want(int(str(want["count"])), tuple(map(str, list_in(want, "uuids"))))
        slots = Slots(Path(str(want["folder"])), wanted)
        self._held.callback(slots.close)
        said = False
        while (cards := slots.take()) is None:
            if self._should_stop():
                raise _Stopped
            if not said:
                self._set("PENDING", detail=f"waiting for {wanted}")
                said = True
            time.sleep(0.2)
        return cards

    def _python(self) -> str:
        if self._should_stop():
            raise _Stopped
        environment = mapping_in(self._spec, "environment")
        if not environment:
            return str(self._spec["python"])
        from freelane_local import venv  # noqa: PLC0415 - only who asks for an environment

        self._set("PENDING", detail="preparing the environment of requirements.txt")
        try:
            return str(
                venv.build(
                    venv.Environment.from_json(environment),
                    self._folder.bundle / "code",
                    env=variables.clean(os.environ, keep=()),
                    on_output=self._log.write,
                    should_stop=self._should_stop,
                )
            )
        except venv.BuildStopped:
            raise _Stopped from None

    def _checkpoints(self) -> Path:
        """The job name's own folder; a second run of the name at the same time gets another."""
        shared = Path(str(self._spec["checkpoints"]))
        records.make_folder(shared)
        lock = records.try_lock(shared.with_name(f".{shared.name}.lock"))
        if lock is None:
            own = self._folder.path / "checkpoints"
            own.mkdir(exist_ok=True)
            self._log.say("another run of this name uses its checkpoints now; this one has its own")
            return own
        self._held.callback(os.close, lock)
        if any(shared.iterdir()):
            self._log.say("checkpoints of an earlier run of this name are in place")
        return shared

    def _run_script(self, python: str, env: dict[str, str]) -> Exit:
        limits = mapping_in(self._spec, "limits")
        memory = number_in(limits, "memory_bytes")
        return supervise.run(
            [python, *(str(word) for word in list_in(self._spec, "argv"))],
            cwd=self._folder.bundle,
            env=env,
            limits=Limits(
                max_runtime_s=number_in(limits, "max_runtime_s"),
                memory_bytes=None if memory is None else int(memory),
                grace_s=number_in(limits, "grace_s") or 0.0,
            ),
            on_output=self._print,
            should_stop=self._look,
            on_start=self._started,
        )

    def _print(self, chunk: bytes) -> None:
        self._keep(self._mask(chunk))

    def _keep(self, chunk: bytes) -> None:
        self._log.write(chunk)
        self._recent += chunk[-_RECENT_BYTES:]
        del self._recent[:-_RECENT_BYTES]

    def _started(self, process: ProcessId) -> None:
        records.write_json(self._folder.process, process.to_json(), durable=False)
        self._set("RUNNING", detail="running", started=time.time(), durable=False)

    def _look(self) -> bool:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LIVE_S
            if self._live.follow():
                # What is seen live may lag behind a full disk; the end of the job may not.
                with contextlib.suppress(StateError):
                    self._set(
                        "RUNNING",
                        detail=self._live.last,
                        metrics=self._live.values,
                        durable=False,
                    )
        return self._should_stop()

    def _finish(self, exit_: Exit, python: str, env: dict[str, str], checkpoints: Path) -> None:
        supervise.end_descendants(grace_s=1.0)  # nobody may write into what is sealed now
        self._keep(self._mask.rest())
        self._live.follow()
        metrics, warning = final_metrics(self._folder.output / "metrics.json")
        notes = [warning] if warning else []
        if self._log.lost_bytes:
            notes.append(f"{self._log.lost_bytes:,} bytes of output could not be written")
        self._status["metrics"] = {**self._live.values, **metrics}
        self._status["peak_rss_bytes"] = exit_.peak_rss_bytes
        self._status["exit_code"] = exit_.code
        if exit_.cause == "stopped":
            self._end_stopped(*notes)
        elif exit_.cause == "exited" and exit_.code == 0:
            self._succeed(python, env, checkpoints, notes)
        else:
            reason, cause = self._why(exit_)
            self._end("FAILED", reason=reason, cause=cause, detail="; ".join(notes))

    def _succeed(
        self, python: str, env: dict[str, str], checkpoints: Path, notes: list[str]
    ) -> None:
        artifact = None
        if _holds_anything(self._folder.model):
            from freelane_local.frameworks import versions_of  # noqa: PLC0415 - not before the run
            from freelane_local.sealing import seal  # noqa: PLC0415 - not before the run

            self._set("RUNNING", detail="sealing the model", durable=False)
            version, frameworks = versions_of(python, env=env, cwd=self._folder.bundle / "code")
            try:
                handle = seal(
                    self._folder.model,
                    Path(str(self._spec["artifacts"])),
                    python=version,
                    frameworks=frameworks,
                    job=self._folder.path.name,
                )
            except (ValueError, ConfigError) as error:
                self._end("FAILED", reason=str(error), cause="user_code")
                return
            if handle is not None:
                artifact = {"digest": handle.digest, "uri": handle.uri}
        if artifact is None:
            notes.append(
                f"the script wrote no model to FREELANE_MODEL_DIR; its files are in "
                f"{self._folder.path}"
            )
        with contextlib.suppress(OSError):
            records.empty(checkpoints)
        self._end("SUCCEEDED", detail="; ".join(notes), artifact=artifact)

    def _end_stopped(self, *notes: str) -> None:
        if self._timer.is_over():
            self._end("STOPPED", reason="its kill switch ended it", detail="; ".join(notes))
        elif self._is_going_down and not self._folder.stop.exists():
            self._end(
                "FAILED",
                reason="the supervisor was told to end (SIGTERM), as when a machine shuts down",
                cause="interrupted",
            )
        else:
            self._end("STOPPED", reason="stopped on request", detail="; ".join(notes))

    def _end(self, state: str, **changes: object) -> None:
        self._log.close()
        # Before anybody sees the end: the next job may want the cards and the checkpoints at once.
        self._held.close()
        self._set(state, ended=time.time(), document={"detail": "", **changes})

    def _why(self, exit_: Exit) -> tuple[str, str]:
        past = job_ending.past_limit(exit_, mapping_in(self._spec, "limits"))
        if past is not None:
            return past
        told = self._folder.output / "failure"
        said = job_ending.last_words(told, bytes(self._recent), self._mask)
        return job_ending.failure(exit_, said, has_lost_output=self._log.lost_bytes > 0)


def _holds_anything(folder: Path) -> bool:
    return any(names or links for _, links, names in os.walk(folder))


def _open_spec(folder: JobFolder) -> records.Document | None:
    """What to run; None where somebody has, or it has ended."""
    spec = records.read_json(folder.spec)
    return None if folder.supervisor.exists() or folder.is_final() else spec


def main(argv: list[str]) -> int:
    """Take the job on, unless another supervisor has; 0 always, the status tells the rest."""
    folder = JobFolder(Path(argv[0]))
    place = supervision.take_place(
        folder,
        folder.life_lock,
        look=lambda: _open_spec(folder),
    )
    if place is None:
        return 0
    _, spec = place
    supervise.adopt_orphans()
    JobRun(folder, spec).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
