"""What is to be run: task.json, as it was written beside the user's code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA_VERSION = 1


class TaskError(Exception):
    """task.json, or a variable beside it, does not hold; the message is one line for a person."""


@dataclass(frozen=True)
class TrainingTask:
    """A training job: which script, with what."""

    name: str
    script: str
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    """Channel -> the variable that names its folder."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What the user sets; it wins over derived names, but never over FREELANE_ ones."""


@dataclass(frozen=True)
class ServingTask:
    """An endpoint: which script, under what limits."""

    name: str
    script: str
    env: Mapping[str, str] = field(default_factory=dict)
    rate: Mapping[str, int] = field(default_factory=dict)
    """Window length in seconds, as text -> requests in it."""


def read(folder: Path) -> TrainingTask | ServingTask:
    """The task of a bundle's folder.

    Raises:
        TaskError: There is none that this version can read.
    """
    try:
        document = json.loads((folder / "task.json").read_text("utf-8"))
        if document["schema_version"] != SCHEMA_VERSION:
            raise TaskError(f"task.json has version {document['schema_version']}, not 1")
        if document["kind"] == "train":
            return TrainingTask(
                name=document["name"],
                script=document["script"],
                hyperparameters=document["hyperparameters"],
                channels=document["channels"],
                env=document["env"],
            )
        return ServingTask(
            name=document["name"],
            script=document["script"],
            env=document["env"],
            rate=document["rate"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"task.json cannot be read: {error!r}") from error
