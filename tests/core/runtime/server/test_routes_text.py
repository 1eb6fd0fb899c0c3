import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import ModelError, RateExceeded, TimedOut
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.routes import gemini, openai, vertex
from freelane.wire import openai as wire

MESSAGES = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
CHAT = "/v1/chat/completions"
GENERATE = "/v1beta/models/any:generateContent"
STREAM = "/v1beta/models/any:streamGenerateContent"
PATHS = [
    CHAT,
    "/v1/completions",
    "/v1/embeddings",
    GENERATE,
    STREAM,
    "/v1beta/models/m:countTokens",
    "/v1beta/models/m:embedContent",
    "/v1beta/models/m:batchEmbedContents",
]
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "role",
        "content",
        "text",
        "type",
        "parts",
        "contents",
        "prompt",
        "input",
        "stop",
        "stream",
        "max_tokens",
        "stream_options",
        "seed",
        "n",
        "requests",
        "generationConfig",
        "systemInstruction",
        "stopSequences",
    ]
)


class Writing:
    """Answers GENERATE with its pieces; each a JSON value, an exception or the payload of END."""

    def __init__(self, *pieces, end=b"{}"):
        self.pieces = pieces
        self.end = end
        self.told = 0
        self.asked = None

    def __call__(self, ask):
        self.asked = json.loads(ask.payload)
        waiting = iter(self.pieces)

        def on():
            ask.resume = None
            for piece in waiting:
                if isinstance(piece, Exception):
                    ask.is_over = True
                    ask.listener.failed(piece)
                    return
                self.told += 1
                goes_on = ask.listener.item(json.dumps(piece).encode())
                if ask.is_over:
                    return
                if not goes_on:
                    ask.resume = on
                    return
            ask.is_over = True
            ask.listener.ended(self.end)

        on()


@pytest.fixture
def ask(asking, admission):
    return asking([*openai.routes("digits", admission), *gemini.routes("digits", admission)])


@pytest.fixture
def writes(runner):
    def write(*pieces, end=b"{}"):
        runner.answers[Kind.GENERATE] = found = Writing(*pieces, end=end)
        return found

    return write


def chat(ask, headers=None, **fields):
    return ask("POST", CHAT, {"model": "any", "messages": MESSAGES, **fields}, headers)


def streamed(exchange):
    return wire.Pieces().feed(exchange.answer)


def test_a_chat_is_answered_whole(ask, writes):
    writing = writes("he", "llo ", "you")
    answer = chat(ask, temperature=0.5, seed=3)
    assert answer.status == 200
    assert answer.document["choices"][0]["message"]["content"] == "hello you"
    assert answer.document["choices"][0]["finish_reason"] == "stop"
    assert answer.document["model"] == "any"
    assert answer.document["id"] == "chatcmpl-request-1"
    assert writing.asked == {
        "messages": MESSAGES,
        "prompt": None,
        "parameters": {"temperature": 0.5, "seed": 3},
    }


def test_the_model_s_own_count_of_tokens_is_told(ask, writes):
    writes("x", end=b'{"usage": {"input_tokens": 11, "output_tokens": 7}}')
    assert chat(ask).document["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
    }


def test_tokens_are_counted_roughly_where_the_model_does_not_tell(ask, writes):
    writes("a", " b", " c")
    assert chat(ask).document["usage"]["completion_tokens"] == 3


def test_a_chat_is_streamed_piece_by_piece(ask, writes):
    writes("he", "llo")
    answer = chat(ask, stream=True, stream_options={"include_usage": True})
    assert answer.kind == "text/event-stream"
    assert answer.reply_headers["cache-control"] == "no-cache"
    assert [piece.text for piece in streamed(answer)] == ["he", "llo", ""]
    assert streamed(answer)[-1].usage.output == 2
    assert len(answer.pieces) == 3
    assert answer.is_complete


def test_a_completion_goes_on_from_a_prompt(ask, writes):
    writing = writes("x")
    answer = ask("POST", "/v1/completions", {"model": "m", "prompt": "once"})
    assert answer.document["choices"][0]["text"] == "x"
    assert writing.asked["prompt"] == "once"
    assert writing.asked["messages"] == []


def test_an_empty_text_is_a_text(ask, writes):
    writes()
    assert chat(ask).document["choices"][0]["message"]["content"] == ""
    answer = chat(ask, stream=True)
    assert answer.is_complete
    assert [piece.text for piece in streamed(answer)] == [""]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "text", "finish"),
    [({"stop": "END"}, "one two ", "stop"), ({"max_tokens": 1}, "one ", "length")],
)
def test_the_model_is_cancelled_where_the_text_is_cut(
    ask, writes, runner, stream, fields, text, finish
):
    writing = writes("one ", "two ", "EN", "D", "never", "told")
    answer = chat(ask, stream=stream, **fields)
    assert answer.is_complete
    assert len(runner.cancelled) == 1
    assert writing.told < 5
    if stream:
        pieces = streamed(answer)
        assert "".join(piece.text for piece in pieces) == text
        assert pieces[-1].finish == finish
    else:
        assert answer.document["choices"][0]["message"]["content"] == text
        assert answer.document["choices"][0]["finish_reason"] == finish
    assert answer.on_gone is None


def test_a_model_that_limits_itself_is_not_cut(ask, writes, runner):
    runner.hello = Hello("native", True, True, True, True, True, limits=True)  # noqa: FBT003
    writes("one two three", end=b'{"finish": "length"}')
    answer = chat(ask, max_tokens=1, stop=["two"])
    assert answer.document["choices"][0]["message"]["content"] == "one two three"
    assert answer.document["choices"][0]["finish_reason"] == "length"


def test_a_slow_reader_pauses_the_model(ask, writes):
    writing = writes("a", "b", "c")
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    answer = ask("POST", CHAT, body, reads_slowly=True)
    assert writing.told == 1
    answer.drain()
    assert writing.told == 2
    answer.reads_slowly = False
    answer.drain()
    assert "".join(piece.text for piece in streamed(answer)) == "abc"
    assert answer.is_complete


def test_a_reader_who_has_read_meanwhile_does_not_pause_the_model(ask, writes, runner):
    writing = writes("a", "b")

    def read_at_once(asked):
        asked.listener._exchange.when_drained = lambda call: call()
        writing(asked)

    runner.answers[Kind.GENERATE] = read_at_once
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    answer = ask("POST", CHAT, body, reads_slowly=True)
    assert writing.told == 2
    assert answer.is_complete


def test_who_hangs_up_cancels_the_model(ask, writes, runner):
    writes("a", "b")
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    answer = ask("POST", CHAT, body, reads_slowly=True)
    answer.hang_up()
    answer.drain()
    assert len(runner.cancelled) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_before_the_first_piece_has_its_status(ask, writes, stream):
    writes(TimedOut())
    answer = chat(ask, stream=stream)
    assert answer.status == 504
    assert answer.document["error"]["code"] == "timeout"
    assert answer.reply_headers["x-should-retry"] == "false"


def test_what_fails_in_the_midst_of_a_stream_is_told_in_it(ask, writes):
    writes("a", ModelError("the model raised KeyError"))
    answer = chat(ask, stream=True)
    assert answer.status == 200
    assert answer.is_complete
    with pytest.raises(wire.AnswerFailed, match="KeyError"):
        streamed(answer)
    assert b"[DONE]" not in answer.answer


@pytest.mark.parametrize("item", [3, None, {"x": 1}, ["a"]])
def test_what_is_no_text_is_the_model_s_error(ask, writes, item):
    writes(item)
    answer = chat(ask)
    assert answer.status == 500
    assert answer.document["error"]["code"] == "model_error"


def test_an_object_with_a_text_is_a_piece(ask, writes):
    writes({"text": "a"})
    assert chat(ask).document["choices"][0]["message"]["content"] == "a"


def test_a_text_without_end_is_not_gathered(ask, writes, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.routes.text.MOST_CHARACTERS", 10)
    writing = writes(*["abcd"] * 50)
    answer = chat(ask)
    assert answer.status == 500
    assert writing.told == 3


def test_a_field_that_is_not_taken_is_named(ask, writes):
    answer = chat(ask, tools=[{"type": "function"}])
    assert answer.status == 400
    assert answer.document["error"]["param"] == "tools"
    assert answer.document["error"]["type"] == "invalid_request_error"


def test_another_content_type_is_refused(ask):
    answer = chat(ask, headers={"content-type": "text/plain"})
    assert answer.status == 400
    assert answer.document["error"]["code"] == "unsupported_type"


@pytest.mark.parametrize("path", [CHAT, GENERATE, STREAM])
def test_a_model_that_writes_no_text_says_so(ask, runner, path):
    runner.hello = Hello("native", True, False, False, False, False)  # noqa: FBT003
    body = {"model": "m", "messages": MESSAGES} if path == CHAT else {"contents": CONTENTS}
    answer = ask("POST", path, body)
    assert answer.status == 501
    assert "writes no text" in answer.document["error"]["message"]


def test_a_parked_model_is_asked(ask, writes, runner):
    runner.hello = None
    writes("x")
    assert chat(ask).status == 200


def test_the_endpoint_s_own_rate_is_told_in_the_protocol_s_form(asking, runner):
    details = {"quota_id": "rate.minute", "limit": 5, "window": "60 s"}
    refusal = RateExceeded("enough", headers={"Retry-After": "7"}, details=details)

    class Full:
        def take(self, then):
            then(refusal)

    admission = Admission(runner, timeout_s=1.0, rates=Full())
    ask = asking([*openai.routes("d", admission), *gemini.routes("d", admission)])
    answer = chat(ask)
    assert answer.status == 429
    assert answer.document["error"]["code"] == "rate_limit_exceeded"
    assert answer.reply_headers["retry-after"] == "7"
    answer = ask("POST", GENERATE, {"contents": CONTENTS})
    assert answer.status == 429
    assert answer.document["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert {"retryDelay": "7s"}.items() <= answer.document["error"]["details"][1].items()


def embeds(runner, vectors):
    def answer(ask):
        runner.texts = json.loads(ask.payload)["texts"]
        ask.is_over = True
        ask.listener.done(json.dumps(vectors).encode())

    runner.answers[Kind.EMBED] = answer


def test_texts_are_embedded(ask, runner):
    embeds(runner, [[1, 2], [3.5, 4]])
    answer = ask("POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
    assert [row["embedding"] for row in answer.document["data"]] == [[1, 2], [3.5, 4]]
    assert runner.texts == ["a", "b"]
    content = {"parts": [{"text": "a"}]}
    many = {"requests": [{"content": content}, {"content": content}]}
    answer = ask("POST", "/v1beta/models/m:batchEmbedContents", many)
    assert answer.document == {"embeddings": [{"values": [1, 2]}, {"values": [3.5, 4]}]}


def test_a_published_model_embeds_through_predict(asking, admission, runner):
    ask = asking(vertex.routes("digits", admission))
    path = "/v1/projects/p/locations/l/publishers/google/models/m:predict"
    embeds(runner, [[1, 2]])
    answer = ask("POST", path, {"instances": [{"content": "a"}]})
    assert answer.document["predictions"][0]["embeddings"]["values"] == [1, 2]
    rows = ask("POST", path, {"instances": [[1, 2]]})
    assert rows.document["predictions"] == [[1, 2]]
    runner.hello = Hello("native", True, False, True, False, False)  # noqa: FBT003
    rows = ask("POST", path, {"instances": [{"content": "a"}]})
    assert rows.document["predictions"] == [{"content": "a"}]


@pytest.mark.parametrize("vectors", [[[1]], [], ["x", "y"], {"a": 1}])
def test_vectors_that_are_none_are_the_server_s_error(ask, runner, vectors):
    embeds(runner, vectors)
    answer = ask("POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
    assert answer.status == 500


def test_a_model_that_makes_no_vectors_says_so(ask, runner):
    runner.hello = Hello("native", True, False, True, False, False)  # noqa: FBT003
    assert ask("POST", "/v1/embeddings", {"model": "m", "input": "a"}).status == 501


def counts(runner, tokens):
    def answer(ask):
        ask.is_over = True
        ask.listener.done(json.dumps({"tokens": tokens}).encode())

    runner.answers[Kind.COUNT] = answer


@pytest.mark.parametrize(
    "place",
    [
        "/v1/models",
        "/v1beta/models",
        "/v1beta/tunedModels",
        "/v1/projects/p/locations/l/publishers/google/models",
        "/v1beta1/projects/p/locations/l/publishers/google/models",
        "/v1beta1/publishers/google/models",
        "/v1beta1/projects/p/locations/l/endpoints",
    ],
)
def test_gemini_s_routes_stand_below_every_place(ask, writes, runner, place):
    writes("he", "llo")
    counts(runner, 5)
    whole = ask("POST", f"{place}/m%40x:generateContent", {"contents": CONTENTS})
    assert whole.document["candidates"][0]["content"]["parts"] == [{"text": "hello"}]
    assert whole.document["modelVersion"] == "m@x"
    array = ask("POST", f"{place}/m:streamGenerateContent", {"contents": CONTENTS})
    assert array.kind == "application/json"
    assert len(array.document) == 3
    events = ask("POST", f"{place}/m:streamGenerateContent?alt=sse", {"contents": CONTENTS})
    assert events.kind == "text/event-stream"
    assert events.answer.count(b"data: ") == 3
    counted = ask("POST", f"{place}/m:countTokens", {"contents": CONTENTS})
    assert counted.document == {"totalTokens": 5}


def test_a_gemini_stream_that_fails_ends_with_the_error(ask, writes):
    writes("a", ModelError("the model raised KeyError"))
    answer = ask("POST", STREAM, {"contents": CONTENTS})
    assert answer.document[-1]["error"]["code"] == 500


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=6,
)


@given(path=st.sampled_from(PATHS), fields=st.dictionaries(FIELDS, VALUES, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_no_body_is_the_server_s_fault(ask, writes, runner, path, fields):
    writes("a")
    counts(runner, 1)
    runner.answers[Kind.EMBED] = lambda asked: asked.listener.failed(ModelError("none"))
    body = {"messages": MESSAGES, "contents": CONTENTS, "prompt": "x", "input": 3} | fields
    names = ["messages", "contents", "prompt", "input"]
    for kept in names:  # what one route wants the others refuse
        document = {name: body[name] for name in body if name not in names or name == kept}
        answer = ask("POST", path, document)
        assert answer.status in {200, 400} or answer.document["error"]["message"] == "none"
        assert answer.is_complete


@pytest.mark.parametrize(
    ("path", "method"),
    [(CHAT, "GET"), ("/v1/models", "POST"), (GENERATE, "GET")],
)
def test_another_method_is_refused_in_the_protocol_s_form(ask, path, method):
    answer = ask(method, path)
    assert answer.status == 405
    assert set(answer.document) == {"error"}


@pytest.mark.parametrize("path", [CHAT, "/v1/models", GENERATE, "/v1beta/models"])
def test_no_route_answers_without_the_token(asking, admission, path):
    ask = asking([*openai.routes("d", admission), *gemini.routes("d", admission)], token="t" * 32)
    method = "GET" if path.endswith("models") else "POST"
    assert ask(method, path).status == 401


def test_models_are_listed_for_both_sdks(ask, runner):
    assert ask("GET", "/v1/models").document["data"][0]["id"] == "digits"
    assert ask("GET", "/v1/models/org/any").document["id"] == "org/any"
    sdk = {"x-goog-api-key": "k"}
    assert ask("GET", "/v1/models", headers=sdk).document["models"][0]["name"] == "models/digits"
    assert ask("GET", "/v1/models/any", headers=sdk).document["name"] == "models/any"
    listed = ask("GET", "/v1beta/models").document["models"][0]
    assert "generateContent" in listed["supportedGenerationMethods"]
    assert ask("GET", "/v1beta/models/any").document["displayName"] == "any"
    published = "/v1beta1/publishers/google/models"
    assert ask("GET", published).document["publisherModels"]
    assert ask("GET", f"{published}/any").document["name"] == "publishers/google/models/any"
    runner.hello = Hello("native", True, False, False, False, False)  # noqa: FBT003
    assert ask("GET", "/v1beta/models/any").document["supportedGenerationMethods"] == []
