"""google-cloud-storage, for which AIP_ variables may name folders of this machine.

Where the real package is installed this is the real one, taught that an address without a scheme is
a file. Where it is not, files are all there is.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

freelane_blobs = importlib.import_module("freelane_blobs")
_installed: Path | None = freelane_blobs.installed(__file__)
if _installed is None:
    blob = freelane_blobs
    Blob = freelane_blobs.Blob
    Client = freelane_blobs.Client
    sys.modules[f"{__name__}.blob"] = freelane_blobs
else:
    __path__ = [str(_installed.parent)]
    __file__ = str(_installed)
    exec(compile(_installed.read_bytes(), __file__, "exec"))  # noqa: S102 - the package itself
    freelane_blobs.teach(globals())
