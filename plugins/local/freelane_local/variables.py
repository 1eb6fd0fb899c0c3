"""The environment variables that the user's process gets: what is kept, what Python adds."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from freelane.errors import ConfigError

_CLEANED = ("FREELANE_", "SM_", "AIP_")


def check_secrets(names: Sequence[str], environ: Mapping[str, str], *, verb: str) -> None:
    """See that each secret of the table `[verb]` is set.

    Raises:
        ConfigError: One is not.
    """
    missing = [name for name in names if name not in environ]
    if missing:
        raise ConfigError(
            f"the secret {missing[0]} of [{verb}] secrets is not set; "
            f"export {missing[0]}=... before you {verb}"
        )


def clean(environ: Mapping[str, str], *, keep: Collection[str]) -> dict[str, str]:
    """The submitter's variables without what another job, or a cloud, may have left there."""
    return {
        name: value
        for name, value in environ.items()
        if name in keep or not name.startswith(_CLEANED)
    }


def of_python(
    python: str,
    *,
    is_venv: bool,
    cards: Sequence[str],
    secrets: Collection[str],
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Our own variables, cleaned, as a process of that interpreter and those cards needs them."""
    env = clean(os.environ if environ is None else environ, keep=secrets)
    bin_folder = str(Path(python).parent)
    env["PATH"] = os.pathsep.join([bin_folder, *filter(None, [env.get("PATH")])])
    if is_venv:
        env["VIRTUAL_ENV"] = str(Path(bin_folder).parent)
        env.pop("PYTHONHOME", None)
    env["CUDA_VISIBLE_DEVICES"] = ",".join(cards)
    return env
