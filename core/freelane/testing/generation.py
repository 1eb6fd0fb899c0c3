"""Standard cases of texts, sent over core's own transport, whole and as they are written."""

from dataclasses import replace

import pytest

from freelane.contract.capability import Capability
from freelane.errors import (
    AuthenticationFailed,
    CapabilityUnsupported,
    EndpointNotReady,
    ModelFailed,
    PermissionDenied,
    ResourceNotFound,
)
from freelane.model.call import HttpCall
from freelane.model.endpoint import EndpointHandle
from freelane.model.generation import Finish, GenerationRequest, Message, Piece, Role, Sampling
from freelane.model.lifecycle import EndpointState
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, endpoint_in
from freelane.transport.http import Transport

_OK = 200


class GenerationConformance(Conformance):
    """Texts: the conversation goes in whole, the answer comes in order, each failure by name."""

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_text_answers_the_whole_conversation(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)

        text, finish = _whole(
            workshop,
            handle,
            Message(Role.SYSTEM, "Be brief."),
            Message(Role.USER, "Hello"),
            Message(Role.ASSISTANT, "Hi"),
            Message(Role.USER, "How are y\u00f6u?"),
        )

        assert text == "system Be brief. | user Hello | assistant Hi | user How are y\u00f6u? | "
        assert finish is Finish.STOP

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_text_comes_in_pieces_while_it_is_written(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        said = [Message(Role.USER, str(number)) for number in range(20)]

        pieces = _streamed(workshop, handle, GenerationRequest(messages=said))

        text, finish = _whole(workshop, handle, *said)
        assert "".join(piece.text for piece in pieces) == text
        assert sum(bool(piece.text) for piece in pieces) > 1, "it comes in more than one piece"
        assert pieces[-1].finish is finish
        assert all(piece.finish is None for piece in pieces[:-1]), "only the last one ends it"

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_text_ends_at_a_stop_text(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        request = GenerationRequest(
            messages=[Message(Role.USER, "one"), Message(Role.USER, "two")],
            sampling=Sampling(stop=["user two"]),
        )

        pieces = _streamed(workshop, handle, request)

        assert "".join(piece.text for piece in pieces) == "user one | "
        assert pieces[-1].finish is Finish.STOP

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_text_is_no_longer_than_asked(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        request = GenerationRequest(
            messages=[Message(Role.USER, "on and on") for _ in range(50)],
            sampling=Sampling(max_tokens=3),
        )

        pieces = _streamed(workshop, handle, request)

        assert 0 < len("".join(piece.text for piece in pieces)) < 50 * len("on and on")
        assert pieces[-1].finish is Finish.LENGTH

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_model_that_raises_writes_nothing_and_the_endpoint_serves_on(
        self, workshop: Workshop
    ) -> None:
        handle = workshop.serve(scripts.RECITES)

        with pytest.raises(ModelFailed):
            _whole(workshop, handle, Message(Role.USER, "refuse"))
        with pytest.raises(ModelFailed):
            _streamed(workshop, handle, GenerationRequest(messages=[Message(Role.USER, "refuse")]))

        assert _whole(workshop, handle, Message(Role.USER, "x"))[0] == "user x | "

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_model_that_breaks_off_has_failed(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        said = [Message(Role.USER, "first"), Message(Role.USER, "refuse")]
        request = GenerationRequest(messages=said)

        with pytest.raises(ModelFailed):
            _streamed(workshop, handle, request)

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_model_that_writes_no_text_is_told(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        with pytest.raises(CapabilityUnsupported):
            _whole(workshop, handle, Message(Role.USER, "Hello"))

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_text_without_credentials_is_refused(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        request = GenerationRequest(messages=[Message(Role.USER, "Hello")])
        public = {"content-type", "accept", "host", "user-agent"}

        for stream in (False, True):
            call = workshop.generator.prepare(handle, request, stream=stream)
            bare = {name: text for name, text in call.headers.items() if name.lower() in public}
            with pytest.raises((AuthenticationFailed, PermissionDenied)):
                _send(workshop, handle, replace(call, headers=bare))

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.GENERATE)
    def test_a_deleted_endpoint_writes_no_text(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.RECITES)
        workshop.deployer.delete(handle, deadline=workshop.deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.DELETED}, workshop.deadline)

        with pytest.raises((EndpointNotReady, ResourceNotFound)):
            _whole(workshop, handle, Message(Role.USER, "Hello"))


def _whole(workshop: Workshop, handle: EndpointHandle, *said: Message) -> tuple[str, Finish]:
    request = GenerationRequest(messages=said)
    return _send(workshop, handle, workshop.generator.prepare(handle, request, stream=False))


def _send(workshop: Workshop, handle: EndpointHandle, call: HttpCall) -> tuple[str, Finish]:
    with Transport() as transport:
        reply = transport.send(call, deadline=workshop.deadline, provider=workshop.provider.name)
    told = workshop.generator.parse(handle, reply)
    return told.text, told.finish


def _streamed(
    workshop: Workshop, handle: EndpointHandle, request: GenerationRequest
) -> list[Piece]:
    generator = workshop.generator
    call = generator.prepare(handle, request, stream=True)
    found: list[Piece] = []
    with Transport() as transport, transport.stream(call, deadline=workshop.deadline) as answer:
        if answer.status != _OK:
            generator.parse(handle, answer.read())
            pytest.fail(f"an answer with the status {answer.status} raises what it says")
        pieces = generator.pieces(handle)
        for part in answer:
            found += pieces.feed(part)
        return [*found, *pieces.end()]
