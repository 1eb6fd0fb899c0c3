"""The conformance suite: what any provider must do, as base classes for its tests.

    class TestAcme(ProviderConformance):
        @pytest.fixture
        def provider(self, tmp_path): ...

Standard cases are selected by what the provider declares, and none of them can be lost unseen: a
dropped one fails, and an overridden one needs `@pytest.mark.xfail(reason=...)`.
"""

try:
    import pytest
except ImportError as error:
    raise ImportError("freelane.testing needs pytest: pip install pytest") from error

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            *("training", "serving", "prediction", "artifacts", "inventory"),
            *("quota", "kill_switch", "updating", "generation"),
        )
    ),
    f"{__name__}.capabilities",
    f"{__name__}.workshop",
)

from freelane.testing.artifacts import ArtifactsConformance  # noqa: E402 - asserts are rewritten
from freelane.testing.capabilities import CapabilityConformance  # noqa: E402
from freelane.testing.cases import Conformance, case  # noqa: E402
from freelane.testing.generation import GenerationConformance  # noqa: E402
from freelane.testing.inventory import InventoryConformance  # noqa: E402
from freelane.testing.kill_switch import KillSwitchConformance  # noqa: E402
from freelane.testing.prediction import PredictionConformance  # noqa: E402
from freelane.testing.project import Project  # noqa: E402
from freelane.testing.quota import QuotaConformance  # noqa: E402
from freelane.testing.serving import ServingConformance  # noqa: E402
from freelane.testing.training import TrainingConformance  # noqa: E402
from freelane.testing.updating import UpdatingConformance  # noqa: E402
from freelane.testing.whole import ProviderConformance  # noqa: E402
from freelane.testing.workshop import MakeOperation, Workshop  # noqa: E402

__all__ = [
    "ArtifactsConformance",
    "CapabilityConformance",
    "Conformance",
    "GenerationConformance",
    "InventoryConformance",
    "KillSwitchConformance",
    "MakeOperation",
    "PredictionConformance",
    "Project",
    "ProviderConformance",
    "QuotaConformance",
    "ServingConformance",
    "TrainingConformance",
    "UpdatingConformance",
    "Workshop",
    "case",
]
