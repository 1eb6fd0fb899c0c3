import base64
import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.model.generation import (
    Finish,
    Generation,
    GenerationRequest,
    Message,
    Piece,
    Role,
    Sampling,
    TokenUsage,
)
from freelane.wire import openai
from freelane.wire.fields import FieldRefused
from freelane.wire.strict_json import BodyRefused

HELLO = [{"role": "user", "content": "hello"}]
SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("a", "b"), seed=3)


def chat(**fields):
    return json.dumps({"model": "m", "messages": HELLO, **fields}).encode()


def completion(**fields):
    return json.dumps({"model": "m", "prompt": "once", **fields}).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_comes_back_as_it_went(stream):
    request = GenerationRequest(
        messages=[
            Message(Role.SYSTEM, "be brief"),
            Message(Role.USER, "hello"),
            Message(Role.ASSISTANT, ""),
        ],
        sampling=SAMPLING,
    )
    path, body = openai.encode_generation(request, model="m", stream=stream)
    assert path == "/chat/completions"
    assert openai.decode_chat(body) == openai.GenerationCall(
        model="m", request=request, stream=stream, include_usage=stream
    )


def test_a_bare_prompt_comes_back_as_it_went():
    request = GenerationRequest(prompt="once", sampling=Sampling())
    path, body = openai.encode_generation(request, model="m", stream=False)
    assert path == "/completions"
    assert openai.decode_completion(body).request == request


def test_what_says_what_happens_anyway_is_taken():
    body = chat(
        n=1,
        stream=False,
        stop=None,
        tools=[],
        tool_choice="none",
        response_format={"type": "text"},
        modalities=["text"],
        logprobs=False,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        user="u",
        metadata={"a": "b"},
        store=False,
        functions=None,
    )
    call = openai.decode_chat(body)
    assert call.request == GenerationRequest(messages=[Message(Role.USER, "hello")])
    assert not call.stream


def test_the_sdk_s_own_message_can_be_sent_back():
    messages = [
        *HELLO,
        {
            "role": "assistant",
            "content": "hi",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
        },
        {
            "role": "developer",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
    ]
    call = openai.decode_chat(chat(messages=messages))
    assert call.request.messages[1:] == [
        Message(Role.ASSISTANT, "hi"),
        Message(Role.SYSTEM, "ab"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("tools", [{"type": "function"}], "tools"),
        ("functions", [{}], "functions"),
        ("tool_choice", "required", "tool_choice"),
        ("n", 2, "n"),
        ("n", True, "n"),
        ("response_format", {"type": "json_object"}, "response_format"),
        ("modalities", ["text", "audio"], "modalities"),
        ("audio", {"voice": "x"}, "audio"),
        ("logprobs", True, "logprobs"),
        ("logprobs", 0, "logprobs"),
        ("top_logprobs", 3, "top_logprobs"),
        ("logit_bias", {"5": 1}, "logit_bias"),
        ("frequency_penalty", 1, "frequency_penalty"),
        ("reasoning_effort", "high", "reasoning_effort"),
        ("top_k", 4, "top_k"),
        ("store", True, "store"),
        ("temperature", 3, "temperature"),
        ("temperature", "1", "temperature"),
        ("temperature", True, "temperature"),
        ("top_p", -0.1, "top_p"),
        ("max_tokens", 0, "max_tokens"),
        ("max_tokens", 1.5, "max_tokens"),
        ("max_completion_tokens", 2**40, "max_completion_tokens"),
        ("stop", [""], "stop"),
        ("stop", [1], "stop"),
        ("stop", ["x"] * 17, "stop"),
        ("seed", "x", "seed"),
        ("stream", 1, "stream"),
        ("stream_options", {"include_usage": True}, "stream_options"),
        ("model", 3, "model"),
        ("model", "m" * 201, "model"),
        ("messages", [], "messages"),
        ("messages", "hello", "messages"),
        ("messages", ["hello"], "messages[0]"),
        ("messages", [{"role": "tool", "content": "x"}], "messages[0].role"),
        ("messages", [{"role": "user"}], "messages[0].content"),
        ("messages", [{"role": "user", "content": "x", "name": "bob"}], "messages[0].name"),
        ("messages", [{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls"),
        (
            "messages",
            [*HELLO, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages[1].content[0].type",
        ),
        (
            "messages",
            [{"role": "user", "content": [{"type": "text"}]}],
            "messages[0].content[0].text",
        ),
    ],
)
def test_what_a_chat_does_not_take_is_refused_by_name(field, value, named):
    with pytest.raises(FieldRefused) as refusal:
        openai.decode_chat(chat(**{field: value}))
    assert refusal.value.field == named
    assert refusal.value.status == 400
    assert refusal.value.message.startswith(f"{named} ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", [[1]]),
        ("suffix", "x"),
        ("echo", True),
        ("best_of", 2),
        ("logprobs", 1),
        ("max_completion_tokens", 1),
    ],
)
def test_what_a_completion_does_not_take_is_refused_by_name(field, value):
    with pytest.raises(FieldRefused) as refusal:
        openai.decode_completion(completion(**{field: value}))
    assert refusal.value.field == field


def test_a_list_of_one_prompt_is_a_prompt():
    assert openai.decode_completion(completion(prompt=["x"])).request.prompt == "x"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"3", b'{"model": NaN}', b"{", b'{"model": "\\ud800"}']
)
@pytest.mark.parametrize(
    "decode", [openai.decode_chat, openai.decode_completion, openai.decode_embedding]
)
def test_what_is_no_request_is_refused(decode, body):
    with pytest.raises(BodyRefused) as refusal:
        decode(body)
    assert refusal.value.status == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NAMES = st.sampled_from(["messages", "stop", "stream", "n", "seed", "input", "prompt", "tools"])


@given(st.dictionaries(NAMES, VALUES))
def test_no_document_breaks_the_reading(document):
    whole = {"model": "m", "input": "x", "prompt": "x", "messages": HELLO} | document
    for decode in (openai.decode_chat, openai.decode_completion, openai.decode_embedding):
        with contextlib.suppress(BodyRefused):
            decode(json.dumps(whole).encode("utf-8", "replace"))


def test_texts_to_embed_come_back_as_they_went():
    path, body = openai.encode_embedding(["a", "b"], model="m")
    assert path == "/embeddings"
    assert openai.decode_embedding(body) == openai.EmbeddingCall(model="m", texts=("a", "b"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 3}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_an_embedding_does_not_take_is_refused_by_name(fields, named):
    with pytest.raises(FieldRefused) as refusal:
        openai.decode_embedding(json.dumps({"model": "m", "input": "a"} | fields).encode())
    assert refusal.value.field == named


@pytest.mark.parametrize("write", [openai.chat_reply, openai.completion_reply])
def test_a_whole_answer_comes_back_as_it_went(write):
    told = Generation(text="hé \u2028", finish=Finish.LENGTH, usage=TokenUsage(3, 4))
    body = write(told, model="m", name="r1", created=5)
    assert openai.decode_generation(body) == told


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b'{"choices": []}', b'{"choices": [3]}', b'{"choices": [{"text": 3}]}', b"<"],
)
def test_what_is_no_answer_is_refused(body):
    with pytest.raises(BodyRefused):
        openai.decode_generation(body)
    with pytest.raises(BodyRefused):
        openai.decode_embeddings(body)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("include_usage", [True, False])
@given(texts=st.lists(st.text(min_size=1)), size=st.integers(1, 50))
def test_a_stream_comes_back_as_it_went_however_it_is_cut(chat, include_usage, texts, size):
    writer = openai.Writer(chat=chat, model="m", name="r", created=1, include_usage=include_usage)
    usage = TokenUsage(2, 3)
    stream = b"".join([writer.start(), *map(writer.text, texts), writer.end(Finish.LENGTH, usage)])
    pieces = openai.Pieces()
    found = [p for at in range(0, len(stream), size) for p in pieces.feed(stream[at : at + size])]
    told = usage if include_usage else None
    assert found == [*(Piece(text=text) for text in texts), Piece(finish=Finish.LENGTH, usage=told)]
    assert pieces.is_over
    assert pieces.close() == []
    assert pieces.feed(b"data: {}\n\n") == []


def test_a_stream_without_its_last_mark_ends_where_the_text_did():
    pieces = openai.Pieces()
    pieces.feed(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
    assert pieces.close() == [Piece(finish=Finish.STOP)]


def test_a_stream_that_breaks_off_is_refused():
    pieces = openai.Pieces()
    pieces.feed(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    with pytest.raises(BodyRefused, match="breaks off"):
        pieces.close()


def test_what_engines_add_to_a_piece_is_passed_over():
    stream = (
        b': ping\n\ndata: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,'
        b'"reasoning_content":"hm"},"logprobs":null}],"usage":null,"timings":{"a":[1]}}\n\n'
        b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"eos"}],'
        b'"usage":{"prompt_tokens":null,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
    )
    assert openai.Pieces().feed(stream) == [
        Piece(text="x"),
        Piece(finish=Finish.STOP, usage=TokenUsage(0, 2)),
    ]


def test_an_error_within_a_stream_is_told():
    _, error = openai.encode_error(500, "model_error", "the model raised KeyError")
    with pytest.raises(openai.AnswerFailed, match="KeyError") as failure:
        openai.Pieces().feed(openai.Writer.failed(error))
    assert failure.value.kind == "server_error"


@pytest.mark.parametrize(
    "data",
    [
        b"data: x\n\n",
        b"data: []\n\n",
        b'data: {"choices":[1]}\n\n',
        b'data: {"choices":[{"delta":{"content":[]}}]}\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
    ],
)
def test_a_stream_of_something_else_is_refused(data):
    with pytest.raises(BodyRefused):
        openai.Pieces().feed(data)


def test_vectors_come_back_as_they_went():
    body = openai.embeddings_reply([[1.5, -2.0], [0.25]], model="m", tokens=4, base64_floats=False)
    found = openai.decode_embeddings(body)
    assert found.vectors == [[1.5, -2.0], [0.25]]
    assert found.usage == {"input_tokens": 4}


def test_vectors_in_base64_are_little_endian_floats():
    body = openai.embeddings_reply([[1.5, -2.0]], model="m", tokens=0, base64_floats=True)
    coded = json.loads(body)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(coded)) == (1.5, -2.0)


@pytest.mark.parametrize(
    ("status", "told", "kind", "code"),
    [
        (400, 400, "invalid_request_error", "bad_request"),
        (413, 400, "invalid_request_error", "bad_request"),
        (422, 400, "invalid_request_error", "bad_request"),
        (401, 401, "authentication_error", "invalid_api_key"),
        (404, 404, "invalid_request_error", "bad_request"),
        (429, 429, "rate_limit_error", "rate_limit_exceeded"),
        (503, 503, "server_error", "bad_request"),
    ],
)
def test_an_error_takes_the_api_s_own_words(status, told, kind, code):
    found, body = openai.encode_error(status, "bad_request", "no", field="f")
    assert found == told
    assert json.loads(body) == {
        "error": {"message": "no", "type": kind, "param": "f", "code": code}
    }
    assert openai.decode_error(body) == ("no", kind)


@pytest.mark.parametrize(
    ("body", "told"), [(b"<html>", ("", "")), (b'{"error": "pull it"}', ("pull it", ""))]
)
def test_an_error_of_another_form_is_told_as_far_as_it_goes(body, told):
    assert openai.decode_error(body) == told


def test_models_are_listed_by_name():
    assert json.loads(openai.models_reply(["a"], created=3)) == {
        "object": "list",
        "data": [{"id": "a", "object": "model", "created": 3, "owned_by": "freelane"}],
    }
    assert json.loads(openai.model_reply("a", created=3))["id"] == "a"
