"""Virtual environments of the peers, made once and kept in a cache folder."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "freelane" / "benchmarks"
_BASE = getattr(sys, "_base_executable", sys.executable)


def room(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment with these requirements, its bytecode compiled."""
    wanted = "\n".join([_BASE, *requirements])
    folder = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python, done = folder / "bin" / "python", folder / "done"
    if not done.exists():
        print(f"making {folder}", file=sys.stderr, flush=True)
        subprocess.run([_BASE, "-m", "venv", "--clear", str(folder)], check=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*map(str, install), *requirements], check=True)
        compile_all = [str(python), "-m", "compileall", "-q", "-j", "0", str(folder / "lib")]
        subprocess.run(compile_all, check=False, stdout=subprocess.DEVNULL)
        done.touch()
    return python
