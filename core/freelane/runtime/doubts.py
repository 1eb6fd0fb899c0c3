"""What a training script takes for granted and will not find; said before anything is sent."""

import re
from collections.abc import Iterator, Mapping

from freelane.model.job import JobSpec
from freelane.runtime.portable.names import ALIASES

_CONTAINER_PATH = re.compile(r"[\"']/opt/ml/([\w/]*)")
_ASKED_FIRST = re.compile(r"environ|getenv|\bSM_")
_CHANNEL = re.compile(r"environ\[\s*[\"'](?:SM_CHANNEL|FREELANE_INPUT)_(\w+)[\"']\s*\]")
_CLOUD_ADDRESS = re.compile(r"\bre\.\w+\(\s*[rf]*[\"']\^?\(?gs:")
_ALL = (
    "SM_MODEL_DIR, SM_CHANNEL_<NAME>, SM_OUTPUT_DATA_DIR and FREELANE_CHECKPOINT_DIR name the "
    "folders, SM_HPS holds the hyperparameters"
)
_INSTEAD = (
    ("input/config", "hyperparameters come as --name value and, together, in SM_HPS"),
    ("input/data", "SM_CHANNEL_<NAME> names the folder"),
    ("checkpoints", "FREELANE_CHECKPOINT_DIR names the folder"),
    ("model", "SM_MODEL_DIR names the folder"),
    ("output", "SM_OUTPUT_DATA_DIR names the folder"),
    ("", _ALL),
)


def doubts(spec: JobSpec, text: str) -> Iterator[str]:
    """One line for each doubt about the script, whose text this is."""
    lines = list(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        found = _CONTAINER_PATH.search(line)
        if found and not _ASKED_FIRST.search(line):
            instead = next(told for start, told in _INSTEAD if found[1].startswith(start))
            yield (
                f"{spec.script}:{number} names a path under /opt/ml, which only SageMaker has; "
                + (instead)
            )
            break
    given = _channels(spec.inputs)
    for number, line in lines:
        for channel in _CHANNEL.findall(line):
            if channel not in given:
                given.add(channel)  # once is enough
                yield (
                    f"{spec.script}:{number} reads the input {channel.lower()}, which [train] "
                    f"inputs does not name (it names {', '.join(sorted(spec.inputs)) or 'none'})"
                )
    for number, line in lines:
        if _CLOUD_ADDRESS.search(line):
            yield (
                f"{spec.script}:{number} takes a gs:// address apart; AIP_MODEL_DIR and its "
                "neighbours are folders here: use them as paths"
            )
            break


def _channels(inputs: Mapping[str, str]) -> set[str]:
    """The channels as variables end in them, those too that are there under a second name."""
    given = {re.sub(r"[^A-Z0-9]", "_", channel.upper()) for channel in inputs}
    for pair in ALIASES:
        if given & set(pair):
            given |= set(pair)
    return given
