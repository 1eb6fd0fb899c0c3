"""`train`, `serve` or `work`: the one command that is run beside the user's code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import task as tasks

USAGE = 2


def main(argv: list[str], folder: Path) -> int:
    """Run what the folder's task.json asks; answers the exit code."""
    try:
        task = tasks.read(folder)
        if isinstance(task, tasks.TrainingTask) and argv == ["train"]:
            from . import training

            return training.run(folder, task, os.environ)
        if isinstance(task, tasks.ServingTask) and argv == ["serve"]:
            from . import serving

            return serving.run(folder, task, os.environ)
        if isinstance(task, tasks.ServingTask) and argv[:2] == ["work", "--channel"]:
            from . import worker

            return worker.run(folder, task, os.environ, int(argv[2]))
    except tasks.TaskError as error:
        sys.stderr.write(f"freelane: {error}\n")
        return USAGE
    sys.stderr.write(
        "freelane: usage: train | serve | work --channel FD, and task.json has to be of that kind\n"
    )
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ.get("FREELANE_BUNDLE", ".")).resolve()))
