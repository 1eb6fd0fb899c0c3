"""How a project's folders become Python's: where it finds modules, which script is one itself."""

from __future__ import annotations

import sys
from pathlib import Path


def search_path(code: Path, script: str) -> list[Path]:
    """Where the user's modules lie, the first first.

    The project; `src/` where it holds packages; the folder of the script, unless the script is a
    module of a package that would hide a module of Python's own from everybody else.
    """
    package = _package(code, script)
    folder = package or (code / script).parent
    found = [code]
    if package is not None:
        found.append(_root(code, package))
    if (code / "src").is_dir() and not (code / "src" / "__init__.py").is_file():
        found.append(code / "src")
    if package is None or not _hides(folder):
        found.append(folder)
    return list(dict.fromkeys(found))


def module_name(code: Path, script: str) -> str | None:
    """The dotted name of a script that is part of a package: only so may it import relatively."""
    package = _package(code, script)
    if package is None:
        return None
    parts = (code / script).with_suffix("").relative_to(_root(code, package)).parts
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


def _package(code: Path, script: str) -> Path | None:
    path = code / script
    package = path if path.is_dir() else path.parent
    return package if package != code and (package / "__init__.py").is_file() else None


def _root(code: Path, package: Path) -> Path:
    """The folder that holds the outermost package."""
    while package != code and (package / "__init__.py").is_file():
        package = package.parent
    return package


def _hides(folder: Path) -> bool:
    own: frozenset[str] = getattr(
        sys, "stdlib_module_names", frozenset()
    )  # Python 3.10 and later know them
    return any(entry.stem in own for entry in folder.iterdir() if _importable(entry))


def _importable(entry: Path) -> bool:
    return entry.suffix == ".py" or (entry / "__init__.py").is_file()
