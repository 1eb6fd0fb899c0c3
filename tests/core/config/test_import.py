import subprocess
import sys

import pytest

HEAVY = {"tomlkit", "rich", "sqlalchemy", "alembic", "httpx", "click", "pluggy", "freelane_local"}


@pytest.mark.parametrize("module", ["schema", "load", "edit", "owner"])
def test_importing_it_loads_nothing_heavy(module):
    code = f"import sys, freelane.config.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
