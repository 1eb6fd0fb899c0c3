"""Wires the ports of the local provider."""

from freelane.contract.provider import Provider, ProviderContext
from freelane_local.artifacts import LocalArtifacts
from freelane_local.config import LocalConfig
from freelane_local.endpoints import LocalDeployer
from freelane_local.generation import LocalGenerator
from freelane_local.inventory import LocalInventory
from freelane_local.kill_switch import LocalKillSwitch
from freelane_local.plugin import LOCAL
from freelane_local.prediction import LocalPredictor
from freelane_local.revision_writing import RevisionWriter
from freelane_local.training import LocalTrainer
from freelane_local.updating import LocalUpdater


def connect(config: LocalConfig, context: ProviderContext) -> Provider:
    """Wire the ports; nothing is read or written yet."""
    folder = (config.folder.expanduser() if config.folder else context.folder).absolute()
    artifacts = LocalArtifacts(folder / "artifacts", provider=context.name)
    trainer = LocalTrainer(folder, config, context)
    writer = RevisionWriter(folder, config, context)
    deployer = LocalDeployer(writer, context)
    return Provider(
        name=context.name,
        info=LOCAL,
        artifacts=artifacts,
        trainer=trainer,
        deployer=deployer,
        updater=LocalUpdater(writer, context),
        predictor=LocalPredictor(folder, context),
        generator=LocalGenerator(folder, context),
        inventory=LocalInventory(folder, context, trainer=trainer, deployer=deployer),
        kill_switch=LocalKillSwitch(folder),
    )
