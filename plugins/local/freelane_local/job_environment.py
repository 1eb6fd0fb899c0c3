"""What a job's script finds: its variables, and the folders that they name."""

from collections.abc import Sequence
from pathlib import Path

from freelane.errors import ConfigError
from freelane_local import records, variables
from freelane_local.job_folder import JobFolder
from freelane_local.records import list_in, mapping_in


def prepare(
    folder: JobFolder,
    spec: records.Document,
    *,
    python: str,
    cards: Sequence[str],
    checkpoints: Path,
) -> dict[str, str]:
    """Make the folders that the script reads and writes; the variables that lead it there.

    Raises:
        ConfigError: An input is gone.
    """
    env = variables.of_python(
        python,
        is_venv=bool(mapping_in(spec, "environment")),
        cards=cards,
        secrets=[str(name) for name in list_in(spec, "secrets")],
    )
    env.update({name: str(value) for name, value in mapping_in(spec, "env").items()})
    for variable, source in mapping_in(spec, "inputs").items():
        env[variable] = str(_place_input(folder, variable, Path(str(source))))
    for path in (folder.model, folder.output):
        path.mkdir(exist_ok=True)
    env["FREELANE_MODEL_DIR"] = str(folder.model)
    env["FREELANE_OUTPUT_DIR"] = str(folder.output)
    env["FREELANE_CHECKPOINT_DIR"] = str(checkpoints)
    env["FREELANE_PROVIDER"] = str(spec["provider"])
    env["FREELANE_JOB"] = folder.path.name
    env["FREELANE_NUM_GPUS"] = str(len(cards))
    env["FREELANE_NUM_CPUS"] = str(spec["cpus"])
    return env


def _place_input(folder: JobFolder, variable: str, source: Path) -> Path:
    """A folder stands for itself; a file gets a folder that links to it."""
    if source.is_dir():
        return source
    if not source.exists():
        raise ConfigError(f"the input {source} is gone since the job was submitted")
    place = folder.inputs / variable.removeprefix("FREELANE_INPUT_").lower()
    place.mkdir(parents=True, exist_ok=True)
    link = place / source.name
    link.unlink(missing_ok=True)
    link.symlink_to(source)
    return place
