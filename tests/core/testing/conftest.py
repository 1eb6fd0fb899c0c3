import shutil
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest

import freelane.registry
import freelane.runtime.bundle
import freelane.runtime.supervise
import freelane.testing

# An inner session forgets what it was the first to import, and would load these anew each time.
_LOADED_ONCE = (
    *(freelane.registry, freelane.runtime.bundle, freelane.runtime.supervise, freelane.testing),
    pydantic.BaseModel,
)

# hypothesis alone costs each inner session a second.
_PLAIN = [f"-pno:{plugin}" for plugin in ("cacheprovider", "hypothesispytest", "xdist", "anyio")]
_HEAD = """
import pytest
import memory_provider as memory
from freelane.contract.capability import FULL, Capability
from freelane.testing import *
"""


@pytest.fixture
def run_suite(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a test module of a provider's author, given as its text, in a session of its own."""
    shutil.copy(Path(__file__).parent / "memory_provider.py", pytester.path)

    def run(module: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_author=_HEAD + module)
        return pytester.runpytest_inprocess(*_PLAIN, "-rA", *arguments)

    return run
