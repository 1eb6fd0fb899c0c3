"""Standard cases of what a provider says that its operations use."""

from datetime import timedelta

from freelane.contract.capability import Capability
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointHandle
from freelane.model.estimate import Account, Estimate, Metered, Timed, UnknownCost
from freelane.model.generation import GenerationRequest, Message, Role
from freelane.model.prediction import PredictionRequest
from freelane.model.quota import Unit
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop


class QuotaConformance(Conformance):
    """Estimates that are pure and whole; readings of what the provider itself counted."""

    @case(Capability.QUOTA, Capability.TRAIN)
    def test_a_job_is_estimated_alike_each_time(self, workshop: Workshop) -> None:
        spec = workshop.project.job(scripts.WRITES_MODEL, max_runtime=timedelta(hours=1))

        estimate = workshop.quota.estimate_job(spec)

        _check(estimate, owned=workshop.provider.info.owned)
        assert workshop.quota.estimate_job(spec) == estimate

    @case(Capability.QUOTA, Capability.DEPLOY)
    def test_an_endpoint_is_estimated_alike_each_time(self, workshop: Workshop) -> None:
        artifact = ArtifactHandle(digest="0" * 64, uri="nowhere")  # an estimate asks nobody
        spec = workshop.project.endpoint(scripts.DOUBLES, artifact, ttl=timedelta(hours=1))

        estimate = workshop.quota.estimate_endpoint(spec)

        _check(estimate, owned=workshop.provider.info.owned)
        assert workshop.quota.estimate_endpoint(spec) == estimate

    @case(Capability.QUOTA, Capability.PREDICT)
    def test_a_prediction_is_estimated_alike_each_time(self, workshop: Workshop) -> None:
        handle = EndpointHandle("endpoint", "endpoint")
        request = PredictionRequest(instances=[1, 2, 3])

        estimate = workshop.quota.estimate_prediction(handle, request)

        _check(estimate, owned=workshop.provider.info.owned)
        assert workshop.quota.estimate_prediction(handle, request) == estimate
        assert not estimate.bills_by_time, "one prediction is used at once"

    @case(Capability.QUOTA, Capability.GENERATE)
    def test_a_text_is_estimated_alike_each_time(self, workshop: Workshop) -> None:
        handle = EndpointHandle("endpoint", "endpoint")
        request = GenerationRequest(messages=[Message(Role.USER, "Hello")])

        estimate = workshop.quota.estimate_generation(handle, request)

        _check(estimate, owned=workshop.provider.info.owned)
        assert workshop.quota.estimate_generation(handle, request) == estimate
        assert not estimate.bills_by_time, "one text is used at once"

    @case(Capability.QUOTA)
    def test_what_cannot_be_read_of_the_account_is_none(self, workshop: Workshop) -> None:
        account = workshop.quota.account(deadline=workshop.deadline)

        assert isinstance(account, Account)

    @case(Capability.QUOTA)
    def test_each_reading_says_what_was_used_and_up_to_when(self, workshop: Workshop) -> None:
        for reading in workshop.quota.usage(deadline=workshop.deadline):
            assert reading.quota
            assert reading.used >= 0
            assert reading.as_of.utcoffset() is not None, "a moment says its time zone"
            assert reading.as_of <= workshop.deadline.clock.now(), "the lag is taken off"


def _check(estimate: Estimate, *, owned: bool) -> None:
    assert estimate.egress_bytes >= 0
    for line in estimate.lines:
        assert line.what.strip(), "people are told what it is"
        if isinstance(line, UnknownCost):
            assert line.why.strip(), "an unknown cost says why nobody knows it"
        elif isinstance(line, Metered | Timed):
            amount = line.amount if isinstance(line, Metered) else line.per_hour
            assert type(amount) is int, f"{line.meter} is counted in whole units"
            assert amount >= 0
            assert line.meter
            assert line.unit in Unit
            assert not (owned and line.unit is Unit.NANO_USD), "one's own hardware bills nothing"
