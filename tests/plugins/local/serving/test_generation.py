"""The generator alone: calls made and answers read, with no server."""

import json

import pytest

from freelane.errors import (
    CapabilityUnsupported,
    EndpointNotReady,
    InvalidRequest,
    ModelFailed,
    ProviderInternal,
)
from freelane.model.call import HttpReply
from freelane.model.endpoint import EndpointHandle
from freelane.model.generation import (
    Finish,
    Generation,
    GenerationRequest,
    Message,
    Role,
    Sampling,
    TokenUsage,
)
from freelane.model.lifecycle import EndpointState
from freelane.runtime.supervise import ProcessId
from freelane.wire import openai
from freelane_local.endpoint_folder import folder_of, write_status
from freelane_local.generation import LocalGenerator

HANDLE = EndpointHandle("chat", "fl-digits-chat-01234567")
HELLO = GenerationRequest(
    messages=[Message(Role.USER, "Hello")], sampling=Sampling(temperature=0.5, stop=("END",))
)


@pytest.fixture
def folder(root):
    """An endpoint whose supervisor is this very process."""
    folder = folder_of(root, HANDLE.ref)
    folder.path.mkdir(parents=True)
    folder.spec.write_text(json.dumps({"name": "chat", "created": 0, "expires_at": None}))
    folder.token.write_text("t" * 43)
    folder.supervisor.write_text(json.dumps(ProcessId.current().to_json()))
    write_status(folder, EndpointState.READY, port=8123)
    return folder


@pytest.fixture
def generator(root, context):
    return LocalGenerator(root, context)


def refusal(status, kind, message):
    _, body = openai.encode_error(status, kind, message)
    return HttpReply(status, {"x-request-id": "r1"}, body)


def test_a_call_goes_to_the_openai_route_with_the_endpoints_token(folder, generator):
    call = generator.prepare(HANDLE, HELLO, stream=False)
    assert (call.method, call.url) == ("POST", "http://127.0.0.1:8123/v1/chat/completions")
    assert call.headers["authorization"] == "Bearer " + "t" * 43
    asked = openai.decode_chat(call.body)
    assert (asked.model, asked.request, asked.stream) == ("chat", HELLO, False)


def test_a_streamed_call_asks_for_events_and_for_the_usage(folder, generator):
    call = generator.prepare(HANDLE, HELLO, stream=True)
    assert call.headers["accept"] == "text/event-stream"
    asked = openai.decode_chat(call.body)
    assert asked.stream
    assert asked.include_usage


def test_an_endpoint_that_is_not_ready_gets_no_call(folder, generator):
    write_status(folder, EndpointState.FAILED, reason="because")
    with pytest.raises(EndpointNotReady, match="local/chat is FAILED: because"):
        generator.prepare(HANDLE, HELLO, stream=True)


def test_a_message_that_is_no_text_is_an_invalid_request(folder, generator):
    half = GenerationRequest(messages=[Message(Role.USER, "\ud800")])
    with pytest.raises(InvalidRequest, match="half a surrogate"):
        generator.prepare(HANDLE, half, stream=False)


def test_a_whole_answer_is_read(generator):
    told = Generation(text="Hi", finish=Finish.LENGTH, usage=TokenUsage(3, 1))
    body = openai.chat_reply(told, model="chat", name="1", created=0)
    read = generator.parse(HANDLE, HttpReply(200, {"x-request-id": "r1"}, body))
    assert (read.text, read.finish, read.usage) == ("Hi", Finish.LENGTH, TokenUsage(3, 1))
    assert read.request_id == "r1"


def test_a_streamed_answer_is_read_however_its_bytes_come(generator):
    writer = openai.Writer(chat=True, model="chat", name="1", created=0, include_usage=True)
    sent = writer.start() + writer.text("H\u00e9 ") + writer.text("you")
    sent += writer.end(Finish.STOP, TokenUsage(3, 2))
    pieces = generator.pieces(HANDLE)
    read = [piece for index in range(len(sent)) for piece in pieces.feed(sent[index : index + 1])]
    read += pieces.end()
    assert "".join(piece.text for piece in read) == "H\u00e9 you"
    assert (read[-1].finish, read[-1].usage) == (Finish.STOP, TokenUsage(3, 2))
    assert [piece.finish for piece in read[:-1]] == [None, None]


def test_an_answer_that_breaks_off_is_no_text(generator):
    writer = openai.Writer(chat=True, model="chat", name="1", created=0, include_usage=False)
    pieces = generator.pieces(HANDLE)
    list(pieces.feed(writer.start() + writer.text("He")))
    with pytest.raises(ProviderInternal, match="local/chat: its answer cannot be read"):
        pieces.end()


def test_an_answer_that_turns_into_an_error_is_the_models(generator):
    writer = openai.Writer(chat=True, model="chat", name="1", created=0, include_usage=False)
    _, error = openai.encode_error(500, "model_error", "no more words")
    pieces = generator.pieces(HANDLE)
    with pytest.raises(ModelFailed, match="endpoint local/chat: no more words"):
        pieces.feed(writer.start() + writer.failed(error))


def test_what_is_no_answer_cannot_be_read(generator):
    with pytest.raises(ProviderInternal, match="cannot be read"):
        generator.parse(HANDLE, HttpReply(200, {}, b"[]"))
    with pytest.raises(ProviderInternal, match="cannot be read"):
        generator.pieces(HANDLE).feed(b"data: {\n\n")


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "bad_request", InvalidRequest),
        (500, "model_error", ModelFailed),
        (500, "internal", ProviderInternal),
        (501, "unsupported", CapabilityUnsupported),
        (503, "unavailable", ProviderInternal),
    ],
)
def test_a_refusal_says_why_by_its_name(generator, status, kind, error):
    with pytest.raises(error, match="because") as raised:
        generator.parse(HANDLE, refusal(status, kind, "because"))
    assert type(raised.value) is error


def test_a_refusal_of_another_form_is_told_too(generator):
    with pytest.raises(ProviderInternal, match="HTTP 502: bad gateway"):
        generator.parse(HANDLE, HttpReply(502, {}, b"bad gateway"))
    with pytest.raises(CapabilityUnsupported, match="writes no text"):
        generator.parse(HANDLE, HttpReply(501, {}, b""))
