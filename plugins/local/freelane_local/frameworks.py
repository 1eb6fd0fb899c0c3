"""Which distribution brings a framework, and which version of it is installed."""

import json
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from freelane.errors import ConfigError
from freelane.model.choice import Framework

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn",),
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "jax": ("jax",),
    "transformers": ("transformers",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "pandas": ("pandas",),
    "joblib": ("joblib",),
}
"""Name as it is imported -> the distributions that may bring it."""

_ALIASES = {"scikit-learn": "sklearn", "pytorch": "torch"}

_REPORT = """
import importlib.metadata, json, platform, sys
found = {}
for name, distributions in json.loads(sys.argv[1]).items():
    for distribution in distributions:
        try:
            found[name] = importlib.metadata.version(distribution)
            break
        except importlib.metadata.PackageNotFoundError:
            pass
print(json.dumps([platform.python_version(), found]))
"""


def distributions(name: str) -> tuple[str, ...]:
    """The distributions that may bring the framework; its own name where it is not a known one."""
    name = _ALIASES.get(name, name)
    return DISTRIBUTIONS.get(name, (name,))


def installed_version(name: str) -> str | None:
    """The version that this very interpreter would import; None if there is none."""
    for distribution in distributions(name):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_installed(framework: Framework, *, section: str) -> None:
    """See that this interpreter has the framework, in the pinned version.

    Raises:
        ConfigError: It has not; `section` is where `python = "venv"` would go.
    """
    version = installed_version(framework.name)
    use_venv = f'set python = "venv" in [{section}]'
    if version is None:
        wanted = requirement(framework)
        raise ConfigError(
            f"framework {str(framework)!r} is not installed in this Python: "
            f"pip install {wanted!r}, or {use_venv} to have it in an environment of its own"
        )
    if framework.version not in {None, version, version.partition("+")[0]}:
        raise ConfigError(
            f"framework {str(framework)!r} is pinned and {framework.name} {version} is installed: "
            f"{use_venv} to run with the pinned version, or change the pin"
        )


def requirement(framework: Framework) -> str:
    """What pip installs for it."""
    distribution = distributions(framework.name)[0]
    return f"{distribution}=={framework.version}" if framework.version else distribution


def versions_of(python: str, *, env: Mapping[str, str], cwd: Path) -> tuple[str, Mapping[str, str]]:
    """Python's version and the frameworks installed in an interpreter, as the user's code sees it.

    An interpreter that does not answer has told nothing: ("", {}).
    """
    try:
        answer = subprocess.run(  # noqa: S603 - the interpreter that ran the user's script
            [python, "-c", _REPORT, json.dumps(DISTRIBUTIONS)],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        version, found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return "", {}
    return version, found
