"""How long the command line takes, against what it cannot do without.

    python benchmarks/command_line.py             # 15 rounds, the figures of docs/performance.md
    python benchmarks/command_line.py --rounds 2  # the short form that CI runs

Every ratio is the median over rounds of two commands that ran side by side, with bytecode
compiled. Nothing here fails by a clock: it exits 1 with --strict alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import Target, Timed, interleave, ratio, report

PYTHON = sys.executable
FREELANE = str(Path(PYTHON).with_name("freelane"))

FILL = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import platformdirs
from freelane.config.owner import owner_id
from freelane.model.job import Job, JobHandle
from freelane.model.lifecycle import JobState
from freelane.state import jobs
from freelane.store.engine import open_store
store = open_store(None, platformdirs.user_data_path("freelane"))
owner = owner_id(platformdirs.user_config_path("freelane") / "config.toml")
start = datetime(2026, 1, 1, tzinfo=UTC)
with store.begin() as c:
    for n in range(int(sys.argv[1])):
        jobs.add(c, owner, Job(
            id=f"bench-{n:08x}", name="bench", project="bench", provider="local", emulated=False,
            handle=JobHandle(f"fl-bench-{n}", "r"), spec_hash="h", operation=f"{n:032x}",
            state=JobState.SUCCEEDED, detail="", created=start + timedelta(seconds=n),
            metrics={"accuracy": 0.97}, cost_usd=0.0,
        ))
store.close()
"""

FIRST_LINE = """
import os, time
with open(os.environ["FREELANE_OUTPUT_DIR"] + "/metrics.json", "w") as file:
    file.write('{"first_line": %.6f}' % time.time())
"""


def home(folder: Path, *, jobs: int) -> dict[str, str]:
    """A home of its own, with a project and so many recorded jobs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREELANE_")}
    env |= {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "freelane.toml").write_text('name = "bench"\n[train]\nscript = "train.py"\n')
    (project / "train.py").write_text(FIRST_LINE)
    subprocess.run([PYTHON, "-c", FILL, str(jobs)], env=env, check=True)
    return env


def time_to_first_line(env: dict[str, str], project: Path) -> float:
    """Milliseconds from starting `freelane train` to the first line of the user's script."""
    begun = time.time()
    done = subprocess.run(
        [FREELANE, "train", "--json"], env=env, cwd=project, check=True, capture_output=True
    )
    return (json.loads(done.stdout)["job"]["metrics"]["first_line"] - begun) * 1000


def main() -> int:
    """Measure, and print what docs/performance.md shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--strict", action="store_true", help="exit 1 where a limit is missed")
    arguments = parser.parse_args()
    # In processes of their own: a child's peak memory counts its parent's at the fork.
    for path in (p for p in sys.path if Path(p).is_dir()):
        subprocess.run([PYTHON, "-W", "ignore", "-m", "compileall", "-qq", path], check=False)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few, many = home(folder / "few", jobs=10), home(folder / "many", jobs=10_000)
        few_project, many_project = folder / "few/project", folder / "many/project"
        nothing = Timed("python -c pass", [PYTHON, "-c", "pass"])
        click = Timed('python -c "import click"', [PYTHON, "-c", "import click"])
        alchemy = Timed('python -c "import sqlalchemy"', [PYTHON, "-c", "import sqlalchemy"])
        both = Timed(
            'python -c "import sqlalchemy, pydantic"',
            [PYTHON, "-c", "import sqlalchemy, pydantic"],
        )
        package = Timed('python -c "import freelane"', [PYTHON, "-c", "import freelane"])
        help_ = Timed("freelane --help", [FREELANE, "--help"], few, few_project)
        jobs = Timed("freelane jobs", [FREELANE, "jobs"], few, few_project)
        jobs_json = Timed(
            "freelane jobs --json (10)", [FREELANE, "jobs", "--json"], few, few_project
        )
        jobs_many = Timed(
            "freelane jobs --json (10,000)", [FREELANE, "jobs", "--json"], many, many_project
        )
        jobs_all = Timed(
            "freelane jobs --json --limit 0 (10,000)",
            [FREELANE, "jobs", "--json", "--limit", "0"],
            many,
            many_project,
        )
        commands = [
            nothing, package, click, help_, alchemy, jobs, both, jobs_json, jobs_many, jobs_all,
        ]  # fmt: skip
        interleave(commands, rounds=arguments.rounds)

        train = Timed("freelane train, to the script's first line", [])
        for _ in range(arguments.rounds):
            both.run()
            train.wall_ms.append(time_to_first_line(few, few_project))
            train.peak_mib.append(0)
        both.wall_ms = both.wall_ms[-arguments.rounds :]

        targets = [
            Target("freelane --help / import click", ratio(help_, click), 1.5),
            Target("freelane --help, peak memory", max(help_.peak_mib), 25, "MiB"),
            Target("import freelane / python -c pass", ratio(package, nothing), 3),
            Target("freelane jobs / import sqlalchemy", ratio(jobs, alchemy), 2.5),
            Target(
                "first line of a local job / import sqlalchemy, pydantic", ratio(train, both), 3
            ),
            Target("freelane jobs --json, 10,000 / 10 jobs", ratio(jobs_many, jobs_json), 3),
            Target("the same, all 10,000 listed", ratio(jobs_all, jobs_json), 3),
        ]
        missed = report(targets, [*commands, train])
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
