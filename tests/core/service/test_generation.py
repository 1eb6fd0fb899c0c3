"""Texts of a provider that counts the requests it answers: charged once each, whatever happens."""

from dataclasses import replace

import pytest

from freelane.errors import CapabilityUnsupported, EndpointNotReady, QuotaExceeded, RateLimited
from freelane.model.generation import Finish, GenerationRequest, Message, Role
from freelane.model.quota import Unit
from freelane.service.generation import GenerationService
from freelane.service.tolls import Tolls

HELLO = GenerationRequest(messages=[Message(Role.USER, "Hello")])


class Asker:
    """One Client that asks for texts."""

    def __init__(self, house, endpoint, line):
        self.house, self.endpoint, self.line = house, endpoint, line
        self.tolls = Tolls(house.workspace, house.accounting)
        self.service = GenerationService(house.workspace, line, self.tolls)

    def generate(self):
        deadline = self.house.workspace.deadline()
        return self.service.generate(self.endpoint, HELLO, deadline=deadline)

    def stream(self):
        deadline = self.house.workspace.deadline()
        return self.service.stream(self.endpoint, HELLO, deadline=deadline)


@pytest.fixture
def asker(new_process, cloud, script, endpoint_spec, model):
    started = []

    def start(**options):
        house = new_process(**options)
        endpoint = house.serving.deploy(
            endpoint_spec,
            model,
            provider="cloud",
            spec_hash="h1",
            deadline=house.workspace.deadline(),
            wait=True,
        )
        started.append(Asker(house, endpoint, script.Line([cloud])))
        return started[-1]

    yield start
    for one in started:
        one.tolls.close()


def test_a_whole_text_is_charged_once(asker, cloud, used):
    one = asker()
    told = one.generate()
    one.tolls.close()
    assert told.generation.text == "[1]"
    assert told.latency_ms >= 0
    assert (cloud.requests, used("requests")) == (1, (1, 0))


def test_a_streamed_text_comes_in_pieces_and_is_charged_once(asker, cloud, used):
    one = asker()
    pieces = list(one.stream())
    one.tolls.close()
    assert [piece.text for piece in pieces] == ["one ", "two", ""]
    assert pieces[-1].finish is Finish.STOP
    assert (cloud.requests, used("requests")) == (1, (1, 0))


def test_a_stream_that_is_left_early_counts(asker, used):
    one = asker()
    pieces = one.stream()
    next(pieces)
    pieces.close()
    one.tolls.close()
    assert used("requests") == (1, 0)


def test_a_stream_that_nobody_reads_sends_nothing(asker, cloud, used):
    one = asker()
    one.stream()
    assert (cloud.requests, used("requests")) == (0, (0, 0))


def test_no_more_is_sent_than_is_free(asker, cloud, script):
    cloud.quotas = (
        *(row for row in cloud.quotas if row.meter != "cloud.requests"),
        script.allowance("cloud.requests", 2, Unit.REQUESTS),
    )
    one = asker()
    one.generate()
    list(one.stream())
    with pytest.raises(QuotaExceeded):
        list(one.stream())
    with pytest.raises(QuotaExceeded):
        one.generate()
    assert cloud.requests == 2


def test_a_streams_refusal_teaches_the_providers_limit(asker, cloud):
    one = asker()
    one.line.status = 429
    with pytest.raises(RateLimited):
        list(one.stream())
    one.line.status = 200
    list(one.stream())
    with pytest.raises(QuotaExceeded):
        list(one.stream())
    assert cloud.requests == 2


def test_a_streamed_call_that_is_answered_whole_is_one_piece(asker):
    one = asker()
    one.line.status = 203
    assert [(piece.text, piece.finish) for piece in one.stream()] == [("one two", Finish.STOP)]


def test_a_provider_that_writes_no_text_is_refused_unsent(asker, cloud):
    one = asker(writes=False)
    with pytest.raises(CapabilityUnsupported):
        one.generate()
    with pytest.raises(CapabilityUnsupported):
        list(one.stream())
    assert cloud.requests == 0


def test_an_endpoint_that_is_being_made_is_not_ready(asker):
    one = asker()
    one.endpoint = replace(one.endpoint, handle=None)
    with pytest.raises(EndpointNotReady):
        one.generate()
