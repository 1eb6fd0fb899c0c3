"""Environments made from a project's requirements, one for each content, kept for the next job.

An environment is built where it stays, because its scripts name their own folder; a mark written
last says that it is whole, and a lock keeps two builders apart.
"""

import hashlib
import os
import re
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from freelane.errors import ConfigError, FreelaneError
from freelane.model.endpoint import EndpointSpec
from freelane.model.job import JobSpec
from freelane.runtime.supervise import Limits, run
from freelane_local import frameworks, records

REQUIREMENTS = "requirements.txt"
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)
_FROM_CODE = re.compile(r"^\s*(?:-e|--editable|\.|file:|[^#\s]*/|[^#]*@\s*file:)", re.MULTILINE)
_MARK = "freelane-complete.json"
_ERROR_LINES = 5


@dataclass(frozen=True, slots=True)
class Environment:
    """What an environment is to hold, and where it lies."""

    folder: Path
    requirements: str | None
    """A file of the project's code; None where it has none."""
    extra: tuple[str, ...]
    """Requirements besides: the pinned framework."""

    @property
    def python(self) -> Path:
        """Its interpreter, once it is built."""
        return self.folder / "bin" / "python"

    def to_json(self) -> dict[str, object]:
        """For a record on disk."""
        return {
            "folder": str(self.folder),
            "requirements": self.requirements,
            "extra": list(self.extra),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> "Environment":
        """Read what `to_json` wrote."""
        extra, requirements = document["extra"], document["requirements"]
        if not isinstance(extra, list):
            raise TypeError("not an environment")
        return cls(
            Path(str(document["folder"])),
            None if requirements is None else str(requirements),
            tuple(map(str, extra)),
        )


def requirements_of(files: Sequence[str], script: str) -> str | None:
    """The requirements file nearest to the script: in its own folder, else further up."""
    folders = Path(script).parents if script else [Path()]
    named = ((folder / REQUIREMENTS).as_posix() for folder in folders)
    return next((name for name in named if name in files), None)


def asked_by(spec: JobSpec | EndpointSpec) -> Environment:
    """The environment of a spec's requirements; of its framework where it pins one or has none."""
    extra: tuple[str, ...] = ()
    framework = spec.framework
    if framework is not None and (
        framework.version or not requirements_of(spec.files, spec.script)
    ):
        extra = (frameworks.requirement(framework),)
    cache = Path(platformdirs.user_cache_dir("freelane"))
    return environment(cache, spec.source, spec.files, script=spec.script, extra=extra)


def environment(
    cache: Path,
    source: Path,
    files: Sequence[str],
    *,
    script: str = "",
    extra: Sequence[str] = (),
) -> Environment:
    """Name the environment of a project's requirements by their content and this Python.

    Raises:
        ConfigError: A requirements file names one that is not part of the code.
    """
    requirements = requirements_of(files, script)
    digest = hashlib.sha256()
    for part in (sys.version, sysconfig.get_platform(), *extra):
        digest.update(f"{part}\0".encode())
    if requirements is not None:
        texts = _texts(source, requirements, files)
        for name, text in sorted(texts.items()):
            digest.update(f"{name}\0{text}\0".encode())
        if any(_FROM_CODE.search(text) for text in texts.values()):
            # It installs from the code itself, so any change of the code is another environment.
            for name in files:
                digest.update(f"{name}\0".encode() + (source / name).read_bytes())
    return Environment(cache / "venvs" / digest.hexdigest()[:24], requirements, tuple(extra))


def _texts(source: Path, name: str, files: Sequence[str]) -> dict[str, str]:
    """The requirements file and all that it includes, by path."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        if current not in files:
            raise ConfigError(f"{name} includes {current}, which is not part of the project's code")
        found[current] = (source / current).read_text(encoding="utf-8", errors="replace")
        for included in _INCLUDE.findall(found[current]):
            if "://" not in included:
                path = os.path.normpath(Path(current).parent / included)
                waiting.append(Path(path).as_posix())
    return found


class BuildStopped(FreelaneError):
    """The job was stopped while its environment was being built."""


def build(
    wanted: Environment,
    code: Path,
    *,
    env: Mapping[str, str],
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
) -> Path:
    """The interpreter of a whole environment, built now if it is not there.

    Raises:
        ConfigError: pip refuses; the message carries its own words.
        StateError: The disk is full, read-only or denies access.
        BuildStopped: `should_stop` said so.
    """
    if (wanted.folder / _MARK).exists():
        return wanted.python
    records.make_folder(wanted.folder.parent)
    lock = wanted.folder.with_suffix(".lock")
    while (held := records.try_lock(lock)) is None:
        if should_stop():
            raise BuildStopped("stopped while another job builds the same environment")
        time.sleep(0.2)
    try:
        if not (wanted.folder / _MARK).exists():
            _build(wanted, code, env=env, on_output=on_output, should_stop=should_stop)
    finally:
        os.close(held)
    return wanted.python


def _build(
    wanted: Environment,
    code: Path,
    *,
    env: Mapping[str, str],
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
) -> None:
    printed = bytearray()

    def keep(chunk: bytes) -> None:
        printed.extend(chunk)
        del printed[:-65_536]
        on_output(chunk)

    def step(argv: Sequence[str]) -> None:
        exit_ = run(
            argv, cwd=code, env=env, limits=Limits(), on_output=keep, should_stop=should_stop
        )
        if exit_.cause == "stopped":
            raise BuildStopped("stopped while its environment was being built")
        if exit_.code != 0:
            why = _why(printed.decode(errors="replace"))  # it may be cut within a character
            raise ConfigError(f"the environment could not be built: {why}")

    shutil.rmtree(wanted.folder, ignore_errors=True)
    try:
        # -I: neither PYTHONPATH nor the project's folder may stand in for the standard library.
        step([sys.executable, "-I", "-m", "venv", str(wanted.folder)])
        asked = ["-r", wanted.requirements] if wanted.requirements else []
        asked += wanted.extra
        if asked:
            pip = [str(wanted.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            step([*pip, "install", "--progress-bar", "off", *asked])
        records.write_json(wanted.folder / _MARK, wanted.to_json())
    except BaseException:
        shutil.rmtree(wanted.folder, ignore_errors=True)
        raise


def _why(printed: str) -> str:
    """The errors in pip's own words, else the last that was said."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return " ".join((errors or lines)[-_ERROR_LINES:]) or "nothing was printed"
