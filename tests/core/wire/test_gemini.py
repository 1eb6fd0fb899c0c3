import json

import pytest

from freelane.model.generation import (
    Finish,
    Generation,
    GenerationRequest,
    Message,
    Role,
    Sampling,
    TokenUsage,
)
from freelane.wire import gemini
from freelane.wire.fields import FieldRefused
from freelane.wire.sse import Events
from freelane.wire.strict_json import BodyRefused

HELLO = [{"role": "user", "parts": [{"text": "hello"}]}]


def asked(**fields):
    return json.dumps({"contents": HELLO, **fields}).encode()


def test_a_conversation_is_read():
    body = asked(
        contents=[
            *HELLO,
            {"role": "model", "parts": [{"text": "hi"}, {"text": "!", "thought": False}]},
            {"parts": {"text": "more"}},
        ],
        systemInstruction={"role": "system", "parts": [{"text": "be brief"}]},
        generationConfig={
            "temperature": 1,
            "topP": 0.5,
            "maxOutputTokens": 7,
            "stopSequences": ["x"],
            "seed": 3,
            "candidateCount": 1,
            "responseMimeType": "text/plain",
        },
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        tools=[],
    )
    assert gemini.decode_generation(body) == GenerationRequest(
        messages=[
            Message(Role.SYSTEM, "be brief"),
            Message(Role.USER, "hello"),
            Message(Role.ASSISTANT, "hi!"),
            Message(Role.USER, "more"),
        ],
        sampling=Sampling(temperature=1.0, top_p=0.5, max_tokens=7, stop=("x",), seed=3),
    )


def test_names_in_snake_case_are_read_too():
    body = asked(
        system_instruction={"parts": [{"text": "s"}]}, generation_config={"max_output_tokens": 2}
    )
    request = gemini.decode_generation(body)
    assert request.messages[0] == Message(Role.SYSTEM, "s")
    assert request.sampling.max_tokens == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"contents": []}, "contents"),
        ({"contents": "x"}, "contents"),
        ({"contents": [3]}, "contents[0]"),
        ({"contents": [{"role": "tool", "parts": [{"text": "x"}]}]}, "contents[0].role"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
            "contents[0].parts[0].inlineData",
        ),
        (
            {"contents": [{"parts": [{"text": "x", "thought": True}]}]},
            "contents[0].parts[0].thought",
        ),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0].text"),
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"toolConfig": {"a": 1}}, "toolConfig"),
        ({"cachedContent": "x"}, "cachedContent"),
        ({"safetySettings": [{"threshold": "BLOCK_LOW"}]}, "safetySettings[0].threshold"),
        ({"generationConfig": {"topK": 3}}, "generationConfig.topK"),
        ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
        (
            {"generationConfig": {"responseSchema": {"type": "OBJECT"}}},
            "generationConfig.responseSchema",
        ),
        (
            {"generationConfig": {"responseMimeType": "application/json"}},
            "generationConfig.responseMimeType",
        ),
        ({"generation_config": {"max_output_tokens": 0}}, "generationConfig.maxOutputTokens"),
    ],
)
def test_what_is_not_taken_is_refused_by_name(fields, named):
    with pytest.raises(FieldRefused) as refusal:
        gemini.decode_generation(asked(**fields))
    assert refusal.value.field == named


@pytest.mark.parametrize(
    "body",
    [
        asked(systemInstruction={"parts": [{"text": "s"}]}),
        json.dumps(
            {
                "generateContentRequest": {
                    "model": "models/m",
                    "systemInstruction": {"parts": [{"text": "s"}]},
                    "contents": HELLO,
                }
            }
        ).encode(),
    ],
)
def test_the_texts_to_count_are_read(body):
    assert gemini.decode_count(body) == ["s", "hello"]


def test_the_texts_to_embed_are_read():
    one = {"model": "models/m", "content": {"parts": [{"text": "a"}, {"text": "b"}]}}
    assert gemini.decode_embedding(json.dumps(one).encode()) == ["ab"]
    many = {"requests": [one, {"content": {"role": "user", "parts": [{"text": "c"}]}}]}
    assert gemini.decode_embeddings(json.dumps(many).encode()) == ["ab", "c"]


def test_the_instances_of_an_embedding_model_are_read():
    body = {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"autoTruncate": True}}
    assert gemini.decode_instances(json.dumps(body).encode()) == ["a", "b"]
    answer = json.loads(gemini.instances_reply([[1.0], [2.0]], tokens=[3, 4]))
    assert answer["predictions"][1] == {
        "embeddings": {"values": [2.0], "statistics": {"truncated": False, "token_count": 4}}
    }


@pytest.mark.parametrize("instances", [[], [1], [{"x": 1}], [{"content": "a"}, "b"], None])
def test_other_instances_are_not_for_an_embedding_model(instances):
    assert gemini.decode_instances(json.dumps({"instances": instances}).encode()) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"instances": [{"content": ""}]}, "instances[0].content"),
        ({"instances": [{"content": 3}]}, "instances[0].content"),
        ({"instances": [{"content": "a", "task_type": "X"}]}, "instances[0].taskType"),
        ({"parameters": {"outputDimensionality": 3}}, "parameters.outputDimensionality"),
        ({"parameters": 3}, "parameters"),
        ({"more": 3}, "more"),
    ],
)
def test_what_an_embedding_model_does_not_take_is_refused_by_name(fields, named):
    body = json.dumps({"instances": [{"content": "a"}], **fields}).encode()
    with pytest.raises(FieldRefused) as refusal:
        gemini.decode_instances(body)
    assert refusal.value.field == named


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"requests": []}, "requests"),
        ({"requests": [{}]}, "requests[0].content"),
        ({"requests": [{"content": {"parts": [{"text": ""}]}}]}, "requests[0].content"),
        (
            {"requests": [{"content": HELLO[0], "outputDimensionality": 3}]},
            "requests[0].outputDimensionality",
        ),
    ],
)
def test_what_is_not_embedded_is_refused_by_name(document, named):
    with pytest.raises(FieldRefused) as refusal:
        gemini.decode_embeddings(json.dumps(document).encode())
    assert refusal.value.field == named


@pytest.mark.parametrize(
    "decode",
    [
        gemini.decode_generation,
        gemini.decode_count,
        gemini.decode_embedding,
        gemini.decode_embeddings,
    ],
)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"contents": NaN}'])
def test_what_is_no_request_is_refused(decode, body):
    with pytest.raises(BodyRefused) as refusal:
        decode(body)
    assert refusal.value.status == 400


def test_a_whole_answer_tells_text_reason_and_tokens():
    told = Generation(text="hé", finish=Finish.LENGTH, usage=TokenUsage(3, 4))
    document = json.loads(gemini.generation_reply(told, model="m", name="r"))
    assert document == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "hé"}]},
                "finishReason": "MAX_TOKENS",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 4,
            "totalTokenCount": 7,
        },
        "modelVersion": "m",
        "responseId": "r",
    }


def written(*, sse, fails=False):
    writer = gemini.Writer(model="m", name="r", sse=sse)
    pieces = [writer.start(), writer.text("a"), writer.text("\u2028b")]
    error = gemini.encode_error(500, "no")[1]
    pieces.append(writer.failed(error) if fails else writer.end(Finish.STOP, TokenUsage(1, 2)))
    stream = b"".join(pieces)
    if not sse:
        return json.loads(stream)
    assert stream.count(b"\r\n\r\n") == len(pieces) - 1
    return [json.loads(data) for data in Events().feed(stream)]


@pytest.mark.parametrize("sse", [True, False])
def test_a_stream_tells_each_piece_and_the_tokens_with_the_last(sse):
    chunks = written(sse=sse)
    assert "".join(c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks) == "a\u2028b"
    assert [c["candidates"][0].get("finishReason") for c in chunks] == [None, None, "STOP"]
    assert [c.get("usageMetadata", {}).get("totalTokenCount") for c in chunks] == [None, None, 3]
    assert {c["modelVersion"] for c in chunks} == {"m"}


@pytest.mark.parametrize("sse", [True, False])
def test_a_stream_that_fails_ends_with_the_error(sse):
    assert written(sse=sse, fails=True)[-1]["error"]["status"] == "INTERNAL"


@pytest.mark.parametrize(
    ("status", "told", "word"),
    [
        (400, 400, "INVALID_ARGUMENT"),
        (422, 400, "INVALID_ARGUMENT"),
        (401, 401, "UNAUTHENTICATED"),
        (406, 406, "INVALID_ARGUMENT"),
        (429, 429, "RESOURCE_EXHAUSTED"),
        (503, 503, "UNAVAILABLE"),
        (599, 599, "INTERNAL"),
    ],
)
def test_an_error_is_a_status_of_google_s(status, told, word):
    found, body = gemini.encode_error(status, "no")
    assert found == told
    assert json.loads(body) == {
        "error": {"code": told, "message": "no", "status": word, "details": []}
    }


def test_an_error_tells_field_rate_wait_and_request():
    _, body = gemini.encode_error(
        429,
        "no",
        name="r",
        field="f",
        quota={"quota_id": "rate.minute", "limit": 5},
        retry_s="7",
    )
    details = json.loads(body)["error"]["details"]
    assert [one["@type"].rpartition(".")[2] for one in details] == [
        "BadRequest",
        "QuotaFailure",
        "RetryInfo",
        "RequestInfo",
    ]
    assert details[2]["retryDelay"] == "7s"


def test_models_tell_what_they_do():
    listed = json.loads(gemini.models_reply("m", methods=gemini.METHODS))["models"]
    assert listed == [json.loads(gemini.model_reply("m", methods=gemini.METHODS))]
    assert listed[0]["name"] == "models/m"
    published = json.loads(gemini.publisher_models_reply("m"))["publisherModels"]
    assert published == [json.loads(gemini.publisher_model_reply("m"))]
