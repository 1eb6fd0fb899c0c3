"""Stand-ins for the few imports that published cloud scripts cannot do without.

Each folder here is one entry of the module search path. One is offered only where the real package
is not installed, so that a script written for a cloud's own image runs on a machine without it; but
for `storage`, which is always offered, and stands before a real package to teach it paths.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_OFFERED = {
    "aiplatform": "google.cloud.aiplatform",
    "sagemaker_inference": "sagemaker_inference",
    "sagemaker_containers": "sagemaker_containers",
    "sagemaker_huggingface_inference_toolkit": "sagemaker_huggingface_inference_toolkit",
    "sagemaker_training": "sagemaker_training",
    "sagemaker_xgboost_container": "sagemaker_xgboost_container",
    "gcsfs": "gcsfs",
    "hypertune": "hypertune",
}


def first() -> list[str]:
    """The folder to put before the installed packages."""
    return [str(_HERE / "storage")]


def missing() -> list[str]:
    """The folders to put at the end of the search path: one for each package that is not there."""
    return [str(_HERE / folder) for folder, module in _OFFERED.items() if not _installed(module)]


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or is no package
        return False
