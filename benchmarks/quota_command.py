"""How `freelane quota` grows with the postings that led to its counters.

    python benchmarks/quota_command.py                           # the curve of docs/performance.md
    python benchmarks/quota_command.py --rounds 2 --most 10000   # the short form

Whole processes, taken in turn, each with a database of so many postings on 40 counters. It reads
the counters alone, so the curve is flat. Nothing here fails by a clock: it exits 1 with --strict
alone.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from ledger import SIZES, fill
from processes import Target, Timed, interleave, ratio, report

from freelane.store.engine import open_store

FREELANE = str(Path(sys.executable).with_name("freelane"))


def home(folder: Path, postings: int) -> dict[str, str]:
    """The environment of a user whose ledger has so many postings."""
    store = open_store(None, folder / "data" / "freelane")
    fill(store, postings)
    store.close()
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREELANE_")}
    return env | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=int, default=max(SIZES), help="the most postings")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a limit is missed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="freelane-bench-") as temporary:
        commands = []
        for postings in (size for size in SIZES if size <= given.most):
            folder = Path(temporary) / str(postings)
            folder.mkdir()
            name = f"freelane quota --all --json ({postings:,} postings)"
            argv = [FREELANE, "quota", "--all", "--json"]
            commands.append(Timed(name, argv, env=home(folder, postings), cwd=folder))
        interleave(commands, rounds=given.rounds)
        first = commands[0]
        missed = report(
            [Target(f"{each.name} / 1,000", ratio(each, first), 1.5) for each in commands[1:]],
            commands,
        )
    return 1 if missed and given.strict else 0


if __name__ == "__main__":
    sys.exit(main())
