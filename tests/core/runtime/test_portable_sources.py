"""What travels beside the user's code: Python 3.9's grammar, relative imports, stdlib alone."""

import ast
import sys
from pathlib import Path

import pytest

import freelane.runtime.portable

FOLDER = Path(freelane.runtime.portable.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.relative_to(FOLDER).as_posix())
def test_a_source_is_python_3_9_and_imports_only_itself_and_the_standard_library(source):
    tree = ast.parse(source.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            named = [node.module]
        else:
            continue
        assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_every_source_is_compared():
    assert len(SOURCES) > 20
