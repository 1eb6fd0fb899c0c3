"""Gathers the user's code with what runs beside it into one folder that any provider can run."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from freelane.errors import ConfigError
from freelane.model.endpoint import EndpointSpec, RateLimits
from freelane.model.job import JobSpec
from freelane.runtime import doubts

TASK_SCHEMA_VERSION = 1
_PORTABLE = Path(__file__).parent / "portable"
_NEVER = GitIgnoreSpec.from_lines(
    [".git", "__pycache__/", "*.pyc", "node_modules/", ".venv", "venv/", ".env*"]
)
_BOOTSTRAP = '''"""Starts what runs beside the user's code; this folder holds all of it."""

import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path.insert(0, str(folder))
from freelane_portable.__main__ import main

sys.path.remove(str(folder))
sys.exit(main(sys.argv[1:], folder))
'''
_MODEL_DIR_NAMES = re.compile(
    r"FREELANE_MODEL_DIR|SM_MODEL_DIR|AIP_MODEL_DIR|SM_TRAINING_ENV|--model[-_]dir|\btraining_env\b"
)
_LARGEST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a provider does with a folder that `write` filled."""

    argv: tuple[str, ...]
    """The command, to be run in the folder."""
    env: Mapping[str, str]
    """The user's own variables."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Variable -> the path or URI whose files the provider places; it then names the folder."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Variable -> what the provider collects from the folder that it names."""


def collect(source: Path, *, exclude: Sequence[str], script: str) -> tuple[str, ...]:
    """The user's code under `source` as sorted relative POSIX paths; `script` is always among them.

    Left out is what any .gitignore or `exclude` names, version control, virtual environments,
    .env files and caches.

    Raises:
        ConfigError: The script is not there, or a link leads out of the folder.
    """
    _check_relative(script, what="script")
    found = set(_walk(source, _patterns(exclude, "exclude")))
    path = source / script
    if path.is_dir() and (path / "__main__.py").is_file():
        found.add(f"{script.rstrip('/')}/__main__.py")
    elif path.is_file():
        if not path.resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"script {script!r} is a link that leads out of {source}")
        found.add(PurePosixPath(script).as_posix())
    else:
        near = get_close_matches(script, sorted(found), n=3, cutoff=0.5)
        there = f"; there is {', '.join(near)}" if near else ""
        raise ConfigError(
            f"script {script!r} is not in {source}{there}",
            hint='--script FILE names another, as does script = "..." in freelane.toml',
        )
    return tuple(sorted(found))


def size_bytes(source: Path, files: Sequence[str]) -> int:
    """All the files together.

    Raises:
        ConfigError: One of them is gone.
    """
    return sum(_sizes(source, files).values())


def code_digest(source: Path, files: Sequence[str]) -> str:
    """SHA-256 in hex over the sorted paths and contents.

    Raises:
        ConfigError: One of them is gone or cannot be read.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        try:
            with (source / name).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"{source / name} cannot be read: {error.strerror}") from error
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def write(spec: JobSpec | EndpointSpec, folder: Path) -> Bundle:
    """Fill `folder` with bootstrap.py, the code, what runs beside it and task.json.

    Raises:
        ConfigError: The code is larger than the spec allows, a path is hostile, or a file is gone.
    """
    _check_size(spec)
    code = folder / "code"
    for name in spec.files:
        _check_relative(name, what="file")
        target = code / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(spec.source / name, target)
        except FileNotFoundError as error:
            raise ConfigError(f"{spec.source / name} is gone since the code was listed") from error
    shutil.copytree(
        _PORTABLE,
        folder / "freelane_portable",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    (folder / "bootstrap.py").write_text(_BOOTSTRAP, "utf-8")
    task, bundle = _training(spec) if isinstance(spec, JobSpec) else _serving(spec)
    (folder / "task.json").write_text(json.dumps(task, indent=2), "utf-8")
    return bundle


def input_variable(channel: str) -> str:
    """The variable that names a channel's folder: `train` -> FREELANE_INPUT_TRAIN."""
    return "FREELANE_INPUT_" + re.sub(r"[^A-Z0-9]", "_", channel.upper())


def warnings(spec: JobSpec) -> tuple[str, ...]:
    """What will probably not work as the user means it; one line each, before anything is sent."""
    texts = {
        name: (spec.source / name).read_text("utf-8", "replace")
        for name in spec.files
        if name.endswith((".py", ".sh")) and (spec.source / name).is_file()
    }
    found = []
    if not any(_MODEL_DIR_NAMES.search(text) for text in texts.values()):
        found.append(
            f"{spec.script} names no model directory (FREELANE_MODEL_DIR, SM_MODEL_DIR, "
            "AIP_MODEL_DIR or --model-dir): what it writes elsewhere is no model of the job"
        )
    found += doubts.doubts(spec, texts.get(spec.script, ""))
    return tuple(found)


def _training(spec: JobSpec) -> tuple[dict[str, object], Bundle]:
    channels = {channel: input_variable(channel) for channel in spec.inputs}
    twice = [c for c in channels if list(channels.values()).count(channels[c]) > 1]
    if twice:
        raise ConfigError(f"inputs {', '.join(twice)} share one variable; rename one of them")
    env = _user_env(spec.env)
    task: dict[str, object] = {
        "schema_version": TASK_SCHEMA_VERSION,
        "kind": "train",
        "project": spec.project,
        "name": spec.name,
        "script": spec.script.rstrip("/"),
        "hyperparameters": dict(spec.hyperparameters),
        "channels": channels,
        "env": env,
    }
    return task, Bundle(
        argv=("python3", "bootstrap.py", "train"),
        env=env,
        inputs={channels[channel]: source for channel, source in spec.inputs.items()},
        outputs={
            "FREELANE_MODEL_DIR": "model",
            "FREELANE_OUTPUT_DIR": "output",
            "FREELANE_CHECKPOINT_DIR": "checkpoints",
        },
    )


def _serving(spec: EndpointSpec) -> tuple[dict[str, object], Bundle]:
    env = _user_env(spec.env)
    task: dict[str, object] = {
        "schema_version": TASK_SCHEMA_VERSION,
        "kind": "serve",
        "project": spec.project,
        "name": spec.name,
        "script": spec.script,
        "env": env,
        "rate": _windows(spec.rate),
    }
    return task, Bundle(
        argv=("python3", "bootstrap.py", "serve"),
        env=env,
        inputs={"FREELANE_MODEL_DIR": spec.artifact.uri},
    )


def _windows(rate: RateLimits) -> dict[str, int]:
    """Window length in seconds -> requests in it; a month is 30 days, and slides."""
    limits = {
        "60": rate.per_minute,
        "3600": rate.per_hour,
        "86400": rate.per_day,
        "2592000": rate.per_month,
    }
    return {seconds: limit for seconds, limit in limits.items() if limit is not None}


def _user_env(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("FREELANE_")}


def _patterns(lines: Sequence[str], where: str) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error) as error:
        raise ConfigError(f"{where} holds what is no pattern of files: {error}") from error


def _walk(source: Path, excluded: GitIgnoreSpec) -> Iterator[str]:
    ignores: dict[Path, GitIgnoreSpec] = {}
    for parent, folders, files in os.walk(source):
        here = Path(parent)
        if ".gitignore" in files and (here / ".gitignore").is_file():  # a link to /dev/zero is not
            lines = (here / ".gitignore").read_text("utf-8", "replace").splitlines()
            ignores[here] = _patterns(lines, str(here / ".gitignore"))
        folders[:] = [
            name
            for name in folders
            if not _left_out(here / name, source, excluded, ignores, folder=True)
            and _is_own_folder(here / name, source)
        ]
        for name in files:
            path = here / name
            if not _left_out(path, source, excluded, ignores, folder=False) and _is_own_file(
                path, source
            ):
                yield path.relative_to(source).as_posix()


def _is_own_folder(path: Path, source: Path) -> bool:
    if path.is_symlink():
        _check_link(path, source)
        return False  # what it leads to is met under its own name
    return not (path / "pyvenv.cfg").is_file()


def _is_own_file(path: Path, source: Path) -> bool:
    # A dangling link is an editor's lock; a socket or a pipe is no code.
    if path.is_symlink() and path.exists():
        _check_link(path, source)
    if not path.is_file():
        return False
    if not path.name.isprintable():  # the digest of the code, and clouds, take names that are text
        raise ConfigError(f"{str(path)!a} is no name of printable characters; exclude it")
    return True


def _left_out(
    path: Path,
    source: Path,
    excluded: GitIgnoreSpec,
    ignores: Mapping[Path, GitIgnoreSpec],
    *,
    folder: bool,
) -> bool:
    mark = "/" if folder else ""
    whole = path.relative_to(source).as_posix() + mark
    if _NEVER.match_file(whole) or excluded.match_file(whole):
        return True
    ignored = False
    for base, spec in ignores.items():  # outer ones were met first; an inner one may take back
        if path.is_relative_to(base):
            verdict = spec.check_file(path.relative_to(base).as_posix() + mark).include
            ignored = ignored if verdict is None else verdict
    return ignored


def _check_link(path: Path, source: Path) -> None:
    if not path.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"{path} is a link that leads out of the project; exclude it, or name what it leads "
            "to in [train] inputs"
        )


def _check_relative(name: str, *, what: str) -> None:
    parts = PurePosixPath(name).parts
    if not name or not parts or name.startswith("/") or ".." in parts or set(name) & {"\0", "\\"}:
        raise ConfigError(f"{what} {name!r} is not a path inside the project")


def _check_size(spec: JobSpec | EndpointSpec) -> None:
    sizes = _sizes(spec.source, spec.files)
    total = sum(sizes.values())
    if total <= spec.max_upload_bytes:
        return
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_LARGEST_SHOWN]
    shown = ", ".join(f"{name} ({_mebibytes(size)})" for name, size in largest)
    raise ConfigError(
        f"the code is {_mebibytes(total)}, more than max_upload = "
        f"{_mebibytes(spec.max_upload_bytes)}; the largest: {shown}. Exclude what is no code"
    )


def _sizes(source: Path, files: Sequence[str]) -> dict[str, int]:
    try:
        return {name: (source / name).stat().st_size for name in files}
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
