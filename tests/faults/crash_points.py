"""Kills the real command at each of its steps in turn, and sees that a rerun mends it.

    HOME=<an empty folder> python tests/faults/crash_points.py VERB PROJECT [--after AFTERMATH]
        [--signal KILL|INT|TERM] [--first K] [--stride N]

A step is a commit of the store, a change to the file system, a process started or signalled, an
answer of a control plane. The command runs in a fork of this process, so that a hundred runs cost
one import, and the k-th step ends it; then k + 1, until a run passes clean. One JSON document on
stdout tells what was found.
"""

import argparse
import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import sqlalchemy.dialects.sqlite  # noqa: F401 - loaded once, for every fork
from sqlalchemy.engine.default import DefaultDialect

import freelane.client.client
import freelane.service.prediction
import freelane.transport.http
import freelane_local.provider  # noqa: F401
from freelane.cli import extend, jobs, main, serve, spend, train  # noqa: F401

OFTEN = 2
"""So often a step of the same place in the code counts: copying a tree is one idea, not thirty."""
ROWS = "[[1, 2], [3, 4]]"
ANSWERS = [4, 8]


class Steps:
    """Counts the steps of this process and ends it at one of them."""

    def __init__(self, last: int, number: signal.Signals) -> None:
        self._left = last
        self._signal = number
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._inside = False

    def passing(self, what: str) -> None:
        """One more step is about to be taken, or has just been taken."""
        frame, place = sys._getframe(1), [what]
        while frame is not None:
            if "/freelane" in frame.f_code.co_filename:
                place.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            frame = frame.f_back
        key = tuple(place)
        self._seen[key] += 1
        if self._inside or self._seen[key] > OFTEN:
            return
        self._left -= 1
        if self._left == 0:
            # Where it was, for whoever reads the report.
            os.write(3, " < ".join(place[:4]).encode())
            os.kill(os.getpid(), self._signal)

    def wrap(self, owner: object, name: str, *, after: bool = False, whole: bool = False) -> None:
        """Make every call of `owner.name` a step; `whole`: what it does inside is none."""
        original = getattr(owner, name)

        def stepped(*args: object, **kwargs: object) -> object:
            if name == "open" and not int(str(args[1])) & os.O_CREAT:
                return original(*args, **kwargs)
            self.passing(f"before {name}")
            was, self._inside = self._inside, self._inside or whole
            try:
                result = original(*args, **kwargs)
            finally:
                self._inside = was
            if after:
                self.passing(f"after {name}")
            return result

        setattr(owner, name, stepped)

    def watch(self) -> None:
        """From here on everything counts."""
        for name in ("rename", "replace", "mkdir", "unlink", "link", "symlink", "open", "kill"):
            self.wrap(os, name)
        self.wrap(shutil, "rmtree")
        self.wrap(subprocess.Popen, "__init__", after=True, whole=True)
        self.wrap(DefaultDialect, "do_commit", after=True)
        self.wrap(http.client.HTTPConnection, "getresponse", after=True)


class Ran:
    """What a command came to: `code` is negative where a signal ended it."""

    def __init__(self, code: int, out: str, err: str, at: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.at = at

    def field(self, name: str) -> object:
        """One field of the document that it printed."""
        return json.loads(self.out)[name]


def freelane(*args: str, prepare: Callable[[], object] = lambda: None) -> Ran:
    """Run the command in a fork of this process."""
    with ExitStack() as held:
        out, err, at = (held.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        child = os.fork()
        if child == 0:
            code = 99
            try:
                for number, file in enumerate((out, err, at), start=1):
                    os.dup2(file.fileno(), number)
                sys.argv = ["freelane", *args]
                prepare()
                code = main.main(list(args))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err, at):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ran(os.waitstatus_to_exitcode(status), *texts)


def running() -> list[str]:
    """The processes that were started with our home, but for this one and who started it."""
    found = []
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("HOME") == os.environ["HOME"]
            if ours and process.pid not in mine and process.status() != "zombie":
                found.append(" ".join(process.cmdline()[-4:]))
        except psutil.Error:
            continue
    return found


class Aftermath:
    """What has to hold after a kill; each word of it that does not is kept."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.faults: list[str] = []

    def expect(self, ran: Ran, *codes: int) -> Ran:
        if ran.code not in codes:
            self.faults.append(f"{sys._getframe(1).f_code.co_name}: {ran.code}: {ran.err[-300:]}")
        return ran

    def rerun(self) -> None:
        """The same command again: it converges, and nothing is untracked."""
        if self.verb == "train":
            self.succeeded(self.expect(freelane("train", "--json"), 0))
        elif self.verb == "deploy":
            self.expect(freelane("deploy", "--json"), 0)
            self.answers()
        elif self.verb == "update":
            self.expect(freelane(*COMMANDS["update"]), 0)
            self.answers()
        elif self.verb == "delete":
            self.expect(freelane("delete", "tiny", "--json"), 0, 6)  # 6: it was gone already
        elif self.verb == "stop":
            self.expect(freelane("stop", "tiny", "--json"), 0)
        else:
            self.expect(freelane("cleanup", "--delete", "--json"), 0)
        self.nothing_untracked()
        self.end()

    def cleanup(self) -> None:
        """No rerun: cleanup settles it, and what is recorded can be ended."""
        self.expect(freelane("cleanup", "--delete", "--json"), 0)
        self.nothing_untracked()
        self.end()

    def another(self) -> None:
        """Another command of the same name takes its place: what was begun is found out first."""
        verb = "deploy" if self.verb in {"delete", "update"} else self.verb
        self.expect(freelane(verb, "--set", f"{verb}.env.OTHER='x'", "--json"), 0)
        if verb == "deploy":
            self.answers()
        self.nothing_untracked()
        self.end()

    def down(self) -> None:
        """Everything ends at once."""
        self.expect(freelane("down", "--all", "--yes", "--json"), 0)
        self.nothing_untracked()
        self.end()

    def succeeded(self, ran: Ran) -> None:
        if ran.code == 0 and ran.field("job")["state"] != "SUCCEEDED":
            self.faults.append(ran.out)

    def answers(self) -> None:
        ran = self.expect(freelane("predict", "tiny", "--data", "rows.json", "--json"), 0)
        if ran.code == 0 and ran.field("prediction")["predictions"] != ANSWERS:
            self.faults.append(ran.out)

    def nothing_untracked(self) -> None:
        ran = self.expect(freelane("cleanup", "--json"), 0)
        if ran.code == 0 and (ran.field("resources") or ran.field("problems")):
            self.faults.append(f"untracked: {ran.out}")

    def end(self) -> None:
        if self.verb in {"deploy", "update", "delete", "cleanup"}:
            self.expect(freelane("delete", "tiny", "--json"), 0, 6)
        else:
            for job in freelane("jobs", "--json").field("jobs"):
                if job["state"] in {"PENDING", "RUNNING", "STOPPING"}:
                    self.expect(freelane("stop", job["id"], "--json"), 0)
        give_up = time.monotonic() + 5  # a supervisor takes a moment to leave
        while (left := running()) and time.monotonic() < give_up:
            time.sleep(0.02)
        if left:
            self.faults.append(f"left running: {left}")


COMMANDS = {
    "train": ("train", "--json"),
    "deploy": ("deploy", "--json"),
    "update": ("deploy", "--set", "deploy.env.NEW='x'", "--json"),
    "delete": ("delete", "tiny", "--json"),
    "stop": ("stop", "tiny", "--json"),
    "cleanup": ("cleanup", "--delete", "--json"),
}


def lay_out(verb: str) -> None:
    """What has to be there before the command runs."""
    if verb in {"update", "delete", "cleanup"}:
        freelane("deploy", "--json")
    if verb == "stop":
        freelane("train", "--script", "long.py", "--detach", "--json")
    if verb == "cleanup":  # an endpoint that no record accounts for
        (Path(os.environ["HOME"]) / ".local/share/freelane/state.db").unlink()


def main_of_script(argv: Sequence[str] | None = None) -> int:
    """Enumerate; the exit code is 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=COMMANDS)
    parser.add_argument("project", type=Path)
    parser.add_argument("--after", choices=["rerun", "cleanup", "another", "down"], default="rerun")
    parser.add_argument("--signal", choices=["KILL", "INT", "TERM"], default="KILL")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1)
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    os.chdir(asked.project)
    Path("rows.json").write_text(ROWS, encoding="utf-8")
    os.dup2(2, 3)
    number = signal.Signals[f"SIG{asked.signal}"]
    if asked.verb != "train":
        freelane("train", "--json")
    kills, faults, told = 0, [], 0
    for nth in itertools.count(asked.first, asked.stride):
        lay_out(asked.verb)
        steps = Steps(nth, number)
        ran = freelane(*COMMANDS[asked.verb], prepare=steps.watch)
        if not ran.at:
            break
        kills += 1
        if sys.stderr.isatty() or os.environ.get("CRASH_POINTS_TOLD"):
            print(f"{nth}: {ran.at}", file=sys.stderr)
        told += ran.code == 0
        aftermath = Aftermath(asked.verb)
        getattr(aftermath, asked.after)()
        faults += [f"step {nth} ({ran.at}): {fault}" for fault in aftermath.faults]
    Aftermath(asked.verb).end()
    if ran.code != 0:
        faults.append(f"the clean run exited {ran.code}: {ran.err[-300:]}")
    print(json.dumps({"kills": kills, "detached": told, "faults": faults}, indent=1))
    return 1 if faults or not kills else 0


if __name__ == "__main__":
    sys.exit(main_of_script())
