"""Every name that a training script finds, on every provider: Freelane's own and both clouds'.

The names and formats of the SM_ variables are those of AWS's sagemaker-training toolkit; those of
the AIP_ variables are Vertex AI custom training's.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .task import TrainingTask

HOST = "algo-1"  # what SageMaker calls the only, or the first, machine of a job
MASTER_PORT = 7777
ALIASES = (("TRAIN", "TRAINING"), ("TEST", "TESTING"), ("VALIDATION", "VAL"))
_VERTEX_CHANNELS = {
    "AIP_TRAINING_DATA_URI": ("train", "training"),
    "AIP_VALIDATION_DATA_URI": ("validation", "val", "valid", "eval"),
    "AIP_TEST_DATA_URI": ("test", "testing"),
}


@dataclass(frozen=True)
class Place:
    """Where a job's files lie on the machine that runs it."""

    code: Path
    model: Path
    output: Path
    checkpoints: Path
    configuration: Path
    """Laid out as SageMaker's /opt/ml/input: config/ and data/<channel>."""
    channels: Mapping[str, Path]
    """Channel -> the folder that holds its files."""


def sagemaker_text(value: object) -> str:
    """A value as the toolkit writes it into a variable: text as it is, the rest as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def arguments(hyperparameters: Mapping[str, object], script_text: str = "") -> list[str]:
    """Hyperparameters as `--name value`, by name; True is written True, as on SageMaker.

    A name of one letter is `--C`, unless the script itself reads `-C` and no `--C`. What argparse
    declares as a flag takes no value: `--amp` where it is true, nothing where it is not.
    """
    words = []
    for name in sorted(hyperparameters):
        dashes = "--"
        if len(name) == 1:
            short, long = (re.search(f"""["']{d}{name}["']""", script_text) for d in ("-", "--"))
            dashes = "-" if short and not long else "--"
        value = hyperparameters[name]
        flag = _flag(script_text, name) if isinstance(value, bool) else None
        if flag is not None:
            off = [f"--no-{name}"] if flag == "BooleanOptionalAction" else []
            words += [f"--{name}"] if value else off
            continue
        words += [f"{dashes}{name}", "" if value is None else str(value)]
    return words


def _flag(script_text: str, name: str) -> str | None:
    """The action that makes a flag of the argument in the script's text; None if it is none."""
    declared = rf"""["']--{re.escape(name)}["'][^()]*action\s*=\s*[\w."']*?"""
    found = re.search(declared + r"(store_true|BooleanOptionalAction)", script_text)
    return found[1] if found else None


def training_variables(
    task: TrainingTask, place: Place, environ: Mapping[str, str], args: Sequence[str]
) -> dict[str, str]:
    """The derived variables of a job; what `[train] env` sets is taken from there by the caller."""
    job = environ.get("FREELANE_JOB") or task.name
    cpus = _count(environ.get("FREELANE_NUM_CPUS"), _cpus_here)
    gpus = _count(environ.get("FREELANE_NUM_GPUS"), lambda: _gpus_here(environ))
    return {
        **_freelane(task, place, environ, job),
        **_sagemaker(task, place, job, args, cpus=cpus, gpus=gpus),
        **_vertex(place, job),
    }


def _freelane(
    task: TrainingTask, place: Place, environ: Mapping[str, str], job: str
) -> dict[str, str]:
    return {
        "FREELANE_MODEL_DIR": str(place.model),
        "FREELANE_OUTPUT_DIR": str(place.output),
        "FREELANE_CHECKPOINT_DIR": str(place.checkpoints),
        "FREELANE_HYPERPARAMETERS": json.dumps(task.hyperparameters),
        "FREELANE_PROVIDER": environ.get("FREELANE_PROVIDER", "local"),
        "FREELANE_JOB": job,
        **{task.channels[channel]: str(folder) for channel, folder in place.channels.items()},
    }


def _sagemaker(
    task: TrainingTask, place: Place, job: str, args: Sequence[str], *, cpus: int, gpus: int
) -> dict[str, str]:
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": [HOST]}
    settings: dict[str, object] = {
        "hosts": [HOST],
        "current_host": HOST,
        "current_instance_type": "local",
        "current_instance_group": "homogeneousCluster",
        "current_instance_group_hosts": [HOST],
        "instance_groups": ["homogeneousCluster"],
        "instance_groups_dict": {"homogeneousCluster": group},
        "distribution_instance_groups": ["homogeneousCluster"],
        "is_hetero": False,
        "network_interface_name": "lo",
        "hps": dict(task.hyperparameters),
        "user_entry_point": task.script,
        "framework_params": {},
        "framework_module": None,
        "resource_config": resource_config(),
        "input_data_config": input_data_config(place),
        "channels": sorted(place.channels),
        "module_name": re.sub(r"\.py$", "", task.script),
        "module_dir": str(place.code),
        "log_level": 20,
        "input_dir": str(place.configuration),
        "input_config_dir": str(place.configuration / "config"),
        "output_dir": str(place.output),
        "output_data_dir": str(place.output),
        "output_intermediate_dir": str(place.output / "intermediate"),
        "model_dir": str(place.model),
        "num_cpus": cpus,
        "num_gpus": gpus,
        "num_neurons": 0,
        "job_name": job,
        "user_args": list(args),
        "master_addr": "127.0.0.1",
        "master_port": MASTER_PORT,
    }
    # The toolkit's own spelling of what SM_TRAINING_ENV holds differs from the variables' here.
    settings["training_env"] = {
        **{k: v for k, v in settings.items() if k not in {"hps", "user_args", "channels"}},
        "hyperparameters": settings["hps"],
        "channel_input_dirs": {name: str(path) for name, path in place.channels.items()},
        "additional_framework_parameters": {},
        "is_master": True,
        "master_hostname": HOST,
    }
    named = {f"SM_{key.upper()}": sagemaker_text(value) for key, value in settings.items()}
    for channel, folder in place.channels.items():
        named[f"SM_CHANNEL_{channel.upper()}"] = str(folder)
    for one, other in ALIASES:
        for have, lack in ((one, other), (other, one)):
            if f"SM_CHANNEL_{have}" in named and f"SM_CHANNEL_{lack}" not in named:
                named[f"SM_CHANNEL_{lack}"] = named[f"SM_CHANNEL_{have}"]
    for name, value in task.hyperparameters.items():
        named[f"SM_HP_{name.upper()}"] = sagemaker_text(value)
    return {**named, "TRAINING_JOB_NAME": job, "SAGEMAKER_JOB_NAME": job, "CURRENT_HOST": HOST}


def _vertex(place: Place, job: str) -> dict[str, str]:
    named = {
        "AIP_MODEL_DIR": f"{place.model}/",
        "AIP_CHECKPOINT_DIR": f"{place.checkpoints}/",
        "AIP_TENSORBOARD_LOG_DIR": f"{place.output / 'logs'}/",
        "CLOUD_ML_JOB_ID": job,
        "CLUSTER_SPEC": json.dumps(
            {
                "cluster": {"workerpool0": ["127.0.0.1:2222"]},
                "environment": "cloud",
                "task": {"type": "workerpool0", "index": 0},
            }
        ),
    }
    only = next(iter(place.channels)) if len(place.channels) == 1 else None
    for variable, channels in _VERTEX_CHANNELS.items():
        channel = next((c for c in channels if c in place.channels), None)
        if channel is None and variable == "AIP_TRAINING_DATA_URI":
            channel = only
        if channel is not None:
            named[variable] = data_uri(place.channels[channel])
    if place.channels:
        first = named.get("AIP_TRAINING_DATA_URI", "")
        named["AIP_DATA_FORMAT"] = "jsonl" if first.endswith((".jsonl", ".ndjson")) else "csv"
    return named


def data_uri(folder: Path) -> str:
    """The file itself where the folder holds exactly one, else all of them as a pattern."""
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_file():
        return str(entries[0])
    suffixes = {entry.suffix for entry in entries if entry.is_file()}
    return str(folder / ("*" + (suffixes.pop() if len(suffixes) == 1 else "")))


def resource_config() -> dict[str, object]:
    """SageMaker's resourceconfig.json for one machine."""
    return {
        "current_host": HOST,
        "current_instance_type": "local",
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "local",
                "hosts": [HOST],
            }
        ],
        "network_interface_name": "lo",
    }


def input_data_config(place: Place) -> dict[str, object]:
    """SageMaker's inputdataconfig.json: every channel is a folder of files."""
    return {
        channel: {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        for channel in sorted(place.channels)
    }


def _count(told: str | None, measure: Callable[[], int]) -> int:
    return int(told) if told is not None and told.isdigit() else measure()


def _cpus_here() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus_here(environ: Mapping[str, str]) -> int:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA itself stops reading the list at the first entry that is no device.
        return len([d for d in visible.split(",") if d.strip() and not d.strip().startswith("-")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
