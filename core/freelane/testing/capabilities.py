"""Standard cases of what a provider declares: what it does it has, what it has not it refuses."""

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from freelane.contract.capability import Capability
from freelane.contract.provider import CONTRACT_VERSION
from freelane.errors import CapabilityUnsupported
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointHandle
from freelane.model.generation import GenerationRequest, Message, Role
from freelane.model.name import check_name
from freelane.model.operation import Verb
from freelane.model.prediction import PredictionRequest
from freelane.model.resources import Accelerator, Resources
from freelane.testing import scripts
from freelane.testing.artifacts import ArtifactsConformance
from freelane.testing.cases import Conformance, case, standard_cases
from freelane.testing.generation import GenerationConformance
from freelane.testing.inventory import InventoryConformance
from freelane.testing.kill_switch import KillSwitchConformance
from freelane.testing.prediction import PredictionConformance
from freelane.testing.quota import QuotaConformance
from freelane.testing.serving import ServingConformance
from freelane.testing.training import TrainingConformance
from freelane.testing.updating import UpdatingConformance
from freelane.testing.workshop import Workshop, describe, end_of_job

_PORT = {
    Capability.TRAIN: "trainer",
    Capability.ARTIFACTS: "artifacts",
    Capability.DEPLOY: "deployer",
    Capability.UPDATE: "updater",
    Capability.PREDICT: "predictor",
    Capability.GENERATE: "generator",
    Capability.INVENTORY: "inventory",
    Capability.QUOTA: "quota",
    Capability.KILL_SWITCH: "kill_switch",
}
_PART_OF = {
    Capability.STOP: Capability.TRAIN,
    Capability.LOGS: Capability.TRAIN,
    Capability.METRICS: Capability.TRAIN,
    Capability.ACCELERATOR: Capability.TRAIN,
    Capability.TTL: Capability.DEPLOY,
}
_FAMILY: dict[Capability, type[Conformance]] = {
    Capability.TRAIN: TrainingConformance,
    Capability.DEPLOY: ServingConformance,
    Capability.UPDATE: UpdatingConformance,
    Capability.PREDICT: PredictionConformance,
    Capability.GENERATE: GenerationConformance,
    Capability.ARTIFACTS: ArtifactsConformance,
    Capability.INVENTORY: InventoryConformance,
    Capability.QUOTA: QuotaConformance,
    Capability.KILL_SWITCH: KillSwitchConformance,
}


class CapabilityConformance(Conformance):
    """Declarations: true both ways."""

    @case()
    def test_the_declaration_keeps_the_contract(self, workshop: Workshop) -> None:
        info = workshop.provider.info

        assert info.contract == CONTRACT_VERSION
        assert check_name(info.name, what="provider") == info.name
        assert info.summary.strip(), "a provider says in one line what it is"
        for capability, support in info.capabilities.items():
            for name in support.excludes:
                excluded = standard_cases().get(name)
                assert excluded is not None, f"{name} is not a standard case"
                assert capability in excluded.needs, f"{name} does not need {capability}"

    @pytest.mark.parametrize("capability", Capability)
    @case()
    def test_a_capability_is_there_or_refused(
        self, workshop: Workshop, capability: Capability
    ) -> None:
        provider = workshop.provider
        whole = _PART_OF.get(capability, capability)
        port = getattr(provider, _PORT[whole])
        if provider.info.support(capability).usable:
            assert port is not None, f"{capability} is declared and there is no {_PORT[whole]}"
        elif port is None or (whole is not capability and not provider.info.support(whole).usable):
            return  # there is nothing to ask, or what it is a part of refuses already
        elif capability is Capability.METRICS:  # it is shown, never asked for
            status = workshop.run_well(workshop.project.job(scripts.WRITES_METRICS))
            assert not status.metrics
        else:
            with pytest.raises(CapabilityUnsupported):
                _ASK[capability](workshop)

    @case()
    def test_every_declared_family_of_cases_runs(
        self, workshop: Workshop, request: pytest.FixtureRequest
    ) -> None:
        run = [
            tested
            for name, tested in vars(request.module).items()
            if name.startswith("Test") and inspect.isclass(tested)
            if getattr(tested, "__test__", True)
        ]
        missing = sorted(
            family.__name__
            for capability, family in _FAMILY.items()
            if workshop.provider.info.support(capability).usable
            and not any(issubclass(tested, family) for tested in run)
        )
        assert not missing, f"no test class of this module runs {', '.join(missing)}"


def _ask_train(workshop: Workshop) -> None:
    workshop.submit(workshop.project.job(scripts.WRITES_NOTHING))


def _ask_stop(workshop: Workshop) -> None:
    handle = workshop.submit(workshop.project.job(scripts.WRITES_NOTHING))
    try:
        workshop.trainer.stop(handle, deadline=workshop.deadline)
    finally:
        end_of_job(workshop.trainer, handle, workshop.deadline)


def _ask_logs(workshop: Workshop) -> None:
    handle = workshop.submit(workshop.project.job(scripts.WRITES_NOTHING))
    workshop.trainer.logs(handle, after=None, deadline=workshop.deadline)


def _ask_accelerator(workshop: Workshop) -> None:
    resources = Resources(accelerator=Accelerator(count=1))
    workshop.submit(workshop.project.job(scripts.WRITES_NOTHING, resources=resources))


def _ask_artifacts(workshop: Workshop) -> None:
    workshop.bring_model()


def _ask_deploy(workshop: Workshop) -> None:
    spec = workshop.project.endpoint(scripts.DOUBLES, _some_artifact(workshop))
    operation = workshop.make_operation(Verb.DEPLOY)
    workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)


def _ask_update(workshop: Workshop) -> None:
    name = workshop.make_operation(Verb.DEPLOY).resource
    spec = workshop.project.endpoint(scripts.DOUBLES, _some_artifact(workshop))
    operation = workshop.make_operation(Verb.UPDATE)
    handle = EndpointHandle(name, name)
    workshop.updater.update(handle, spec, operation, deadline=workshop.deadline)


def _ask_ttl(workshop: Workshop) -> None:
    ttl = timedelta(minutes=10)
    spec = workshop.project.endpoint(scripts.DOUBLES, _some_artifact(workshop), ttl=ttl)
    operation = workshop.make_operation(Verb.DEPLOY, ttl=ttl)
    workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)


def _ask_predict(workshop: Workshop) -> None:
    name = workshop.make_operation(Verb.DEPLOY).resource
    workshop.predictor.prepare(EndpointHandle(name, name), PredictionRequest(instances=[1]))


def _ask_generate(workshop: Workshop) -> None:
    name = workshop.make_operation(Verb.DEPLOY).resource
    request = GenerationRequest(messages=[Message(Role.USER, "Hello")])
    workshop.generator.prepare(EndpointHandle(name, name), request, stream=False)


def _ask_inventory(workshop: Workshop) -> None:
    resources: Iterator[object] = workshop.inventory.resources(deadline=workshop.deadline)
    next(resources, None)


def _ask_quota(workshop: Workshop) -> None:
    workshop.quota.account(deadline=workshop.deadline)


def _ask_kill_switch(workshop: Workshop) -> None:
    operation = workshop.make_operation(Verb.DEPLOY)
    at = workshop.deadline.clock.now() + timedelta(minutes=10)
    workshop.kill_switch.arm(operation, at, deadline=workshop.deadline)


def _some_artifact(workshop: Workshop) -> ArtifactHandle:
    """One that is there, where the provider keeps artifacts, and one that might be elsewhere."""
    if workshop.provider.info.support(Capability.ARTIFACTS).usable:
        return workshop.bring_model()
    folder = workshop.project.write("../model/model.json", "{}").parent.resolve()
    return ArtifactHandle(digest=describe(folder).digest, uri=str(folder))


_ASK: dict[Capability, Callable[[Workshop], None]] = {
    Capability.TRAIN: _ask_train,
    Capability.STOP: _ask_stop,
    Capability.LOGS: _ask_logs,
    Capability.ACCELERATOR: _ask_accelerator,
    Capability.ARTIFACTS: _ask_artifacts,
    Capability.DEPLOY: _ask_deploy,
    Capability.UPDATE: _ask_update,
    Capability.TTL: _ask_ttl,
    Capability.PREDICT: _ask_predict,
    Capability.GENERATE: _ask_generate,
    Capability.INVENTORY: _ask_inventory,
    Capability.QUOTA: _ask_quota,
    Capability.KILL_SWITCH: _ask_kill_switch,
}
