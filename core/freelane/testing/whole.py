"""All families in one class, for a provider that has no reason to split them."""

from freelane.testing.artifacts import ArtifactsConformance
from freelane.testing.capabilities import CapabilityConformance
from freelane.testing.generation import GenerationConformance
from freelane.testing.inventory import InventoryConformance
from freelane.testing.kill_switch import KillSwitchConformance
from freelane.testing.prediction import PredictionConformance
from freelane.testing.quota import QuotaConformance
from freelane.testing.serving import ServingConformance
from freelane.testing.training import TrainingConformance
from freelane.testing.updating import UpdatingConformance


class ProviderConformance(
    TrainingConformance,
    ServingConformance,
    UpdatingConformance,
    PredictionConformance,
    GenerationConformance,
    ArtifactsConformance,
    InventoryConformance,
    QuotaConformance,
    KillSwitchConformance,
    CapabilityConformance,
):
    """Every standard case, selected by what the provider declares."""
