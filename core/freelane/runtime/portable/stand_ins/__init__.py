"""Stand-ins for the few imports that published cloud scripts cannot do without.

Each folder here is one entry of the module search path. One is offered only where the real package
is not installed, so that a script written for a cloud's own image runs on a machine without it; but
for `storage`, which is always offered, and stands before a real package to teach it paths.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

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


def offer_prediction() -> None:
    """Let prediction routines run beside an SDK that was installed without its model server.

    google-cloud-aiplatform's own package for them cannot be imported then, all else of it can.
    """
    if _installed("google.cloud.aiplatform") and not _installed("fastapi"):
        sys.meta_path.insert(0, _Prediction())


class _Prediction(MetaPathFinder):
    _name = "google.cloud.aiplatform.prediction"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self._name:
            return None
        folder = _HERE.joinpath("aiplatform", *fullname.split("."))
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or is no package
        return False
