"""Applications written for OpenAI or Gemini ask a local endpoint for text, unchanged.

Only the address and the credentials are ours; the clients are the vendors' own. Each is asked
twice: with a model that writes, and with an engine behind the endpoint, which is that model again.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

WRITER = """
import os
import time

def load(folder):
    return None

def generate(model, messages, parameters):
    said = messages[-1]["content"]
    if said == "fail":
        raise ValueError("nothing to say")
    if said == "break off":
        yield "so far"
        raise ValueError("no more")
    if said == "die":
        yield "so far"
        os._exit(1)
    if said == "forever":
        while True:
            yield "word "
            time.sleep(0.001)
    if said == "flood":
        for _ in range(4000):
            yield "x" * 4096
        return
    if said == "who":
        said = " ".join(message["role"] for message in messages)
    if said == "how":
        said = " ".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    for word in said.split(" "):
        yield word + " "

def embed(model, texts):
    return [[len(text), 0.5] for text in texts]

def count_tokens(model, text):
    return len(text.split())
"""
STREAMER = """
def load(folder):
    return None

def predict(model, instances):
    for character in instances[0]["prompt"]:
        yield character
"""
PLAIN = """
def load(folder):
    return None

def predict(model, instances):
    return instances
"""


@dataclass
class Served:
    """A running server."""

    url: str
    token: str


def start(folder: Path, held: ExitStack, predict: str | None, **asked) -> Served:
    """A server of a script, or of an engine, that ends with `held`."""
    source, model = folder / "source", folder / "model"
    source.mkdir()
    model.mkdir()
    name = "words"
    (source / "predict.py").write_text(predict or PLAIN)
    spec = EndpointSpec(
        project="tiny",
        name=name,
        source=source,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(model)),
    )
    bundle.write(spec, folder / "work")
    token = secrets.token_urlsafe(32)
    (folder / "token").write_text(token)
    environ = asked.pop("environ", {})
    order = {
        "name": name,
        "bundle": str(folder / "work"),
        "python": sys.executable,
        "model": str(model),
        "token_file": str(folder / "token"),
        "ready_file": str(folder / "ready.json"),
        **asked,
    }
    (folder / "order.json").write_text(json.dumps(order))
    log = held.enter_context((folder / "log").open("wb"))
    process = held.enter_context(
        subprocess.Popen(
            [sys.executable, "-P", "-m", "freelane.runtime.server", "order.json"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **environ},
        )
    )
    held.callback(process.wait, 20)
    held.callback(process.send_signal, signal.SIGTERM)
    ready = folder / "ready.json"
    until = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until, "the server did not come up"
        time.sleep(0.02)
    port = json.loads(ready.read_text())["port"]
    return Served(f"http://127.0.0.1:{port}", token)


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator:
    found: dict[str, Served] = {}
    with ExitStack() as held:

        def server(kind: str) -> Served:
            if kind in found:
                return found[kind]
            folder = tmp_path_factory.mktemp(kind)
            if kind == "engine":
                behind = server("worker")
                asked = {"url": f"{behind.url}/v1", "model": "llama", "key_variable": "ENGINE_KEY"}
                environ = {"ENGINE_KEY": behind.token}
                found[kind] = start(folder, held, None, engine=asked, environ=environ)
            elif kind == "inline":
                found[kind] = start(folder, held, WRITER, isolation="none")
            else:
                script = {"worker": WRITER, "streamer": STREAMER, "plain": PLAIN}[kind]
                found[kind] = start(folder, held, script)
            return found[kind]

        yield server


@pytest.fixture(params=["worker", "inline", "engine"])
def writer(servers, request) -> Served:
    return servers(request.param)


def openai_client(served: Served, **options) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{served.url}/v1", api_key=served.token, max_retries=0, timeout=20, **options
    )


def gemini_client(served: Served) -> genai.Client:
    options = types.HttpOptions(base_url=served.url, timeout=20_000)
    return genai.Client(api_key=served.token, http_options=options)


def vertex_client(served: Served) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="p",
        location="us-central1",
        credentials=Credentials(served.token),
        http_options=types.HttpOptions(base_url=served.url, timeout=20_000),
    )


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


# OpenAI


def test_openai_chats(writer):
    with openai_client(writer) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=user("hello you"))
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "hello you ")
    assert choice.finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 2,
        "completion_tokens": 2,
        "total_tokens": 4,
    }


def test_openai_streams_a_chat(writer):
    with (
        openai_client(writer) as client,
        client.chat.completions.create(
            model="m",
            messages=user("one two three"),
            stream=True,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        chunks = list(stream)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [text for text in texts if text] == ["one ", "two ", "three "]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 6


def test_openai_s_own_stream_helper_gathers_the_text(writer):
    with (
        openai_client(writer) as client,
        client.chat.completions.stream(model="m", messages=user("one two")) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.content == "one two "


def test_openai_keeps_a_conversation(writer):
    with openai_client(writer) as client:
        said = [{"role": "system", "content": "be brief"}, *user("hello")]
        first = client.chat.completions.create(model="m", messages=said)
        said += [first.choices[0].message, *user("who")]
        second = client.chat.completions.create(model="m", messages=said)
    assert second.choices[0].message.content == "system user assistant user "


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "text", "finish"),
    [
        ({"max_tokens": 3}, "word word word ", "length"),
        ({"stop": ["d w"]}, "wor", "stop"),
        ({"max_completion_tokens": 2}, "word word ", "length"),
    ],
)
def test_openai_cuts_a_text_that_has_no_end(writer, asked, text, finish, stream):
    with openai_client(writer) as client:
        answer = client.chat.completions.create(
            model="m", messages=user("forever"), stream=stream, **asked
        )
        if not stream:
            choice = answer.choices[0]
            assert (choice.message.content, choice.finish_reason) == (text, finish)
        else:
            chunks = [chunk.choices[0] for chunk in answer]
            assert "".join(chunk.delta.content or "" for chunk in chunks) == text
            assert chunks[-1].finish_reason == finish


def test_openai_s_parameters_come_to_the_model(writer):
    with openai_client(writer) as client:
        answer = client.chat.completions.create(
            model="m", messages=user("how"), temperature=0.5, top_p=0.9, seed=3
        )
    assert answer.choices[0].message.content == "seed=3 temperature=0.5 top_p=0.9 "


def test_openai_completes_a_prompt(writer):
    with openai_client(writer) as client:
        answer = client.completions.create(model="m", prompt="once upon")
        assert answer.choices[0].text == "once upon "
        stream = client.completions.create(model="m", prompt="once upon", stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == "once upon "


@pytest.mark.parametrize("asked", [{}, {"encoding_format": "float"}])
def test_openai_embeds(writer, asked):
    with openai_client(writer) as client:
        answer = client.embeddings.create(model="m", input=["a", "abc"], **asked)
    assert [row.embedding for row in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
    assert [row.index for row in answer.data] == [0, 1]


def test_openai_lists_models(writer):
    with openai_client(writer) as client:
        assert [model.id for model in client.models.list()] == ["words"]
        assert client.models.retrieve("any").id == "any"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"extra_body": {"top_k": 4}}, "top_k"),
    ],
)
def test_openai_is_told_by_name_what_is_not_taken(writer, asked, named):
    with openai_client(writer) as client, pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="m", messages=user("x"), **asked)
    assert refusal.value.param == named
    assert refusal.value.type == "invalid_request_error"


def test_openai_is_told_of_an_image(writer):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    with (
        openai_client(writer) as client,
        pytest.raises(openai.BadRequestError, match=r"messages\[0\].content\[0\]"),
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": [image]}])


@pytest.mark.parametrize("stream", [False, True])
def test_openai_is_told_that_the_model_failed(writer, stream):
    with openai_client(writer) as client, pytest.raises(openai.InternalServerError) as failure:
        list(client.chat.completions.create(model="m", messages=user("fail"), stream=stream))
    assert failure.value.request_id


def test_openai_is_told_that_a_stream_breaks_off(writer):
    with openai_client(writer) as client:
        stream = client.chat.completions.create(model="m", messages=user("break off"), stream=True)
        found = []
        with pytest.raises(openai.APIError, match="no more"):
            found.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "so far" in found


def test_openai_is_told_that_the_worker_died(servers):
    with openai_client(servers("worker")) as client:
        stream = client.chat.completions.create(model="m", messages=user("die"), stream=True)
        with pytest.raises(openai.APIError):
            list(stream)
        client.max_retries = 5
        answer = client.chat.completions.create(model="m", messages=user("hello"))
    assert answer.choices[0].message.content == "hello "


def test_openai_is_told_of_a_wrong_token(writer):
    stranger = Served(writer.url, "sk-somebody-else-and-long-enough")
    with openai_client(stranger) as client, pytest.raises(openai.AuthenticationError) as refusal:
        client.chat.completions.create(model="m", messages=user("x"))
    assert refusal.value.code == "invalid_api_key"


def test_who_leaves_a_stream_early_frees_the_model(writer):
    with openai_client(writer) as client:
        for _ in range(3):
            stream = client.chat.completions.create(
                model="m", messages=user("forever"), stream=True
            )
            assert next(iter(stream)).choices
            stream.close()
        started = time.monotonic()
        answer = client.chat.completions.create(model="m", messages=user("hello"))
    assert answer.choices[0].message.content == "hello "
    assert time.monotonic() - started < 10


def test_a_slow_reader_of_a_long_text_has_all_of_it(writer):
    with openai_client(writer) as client:
        stream = client.chat.completions.create(model="m", messages=user("flood"), stream=True)
        size = 0
        for number, chunk in enumerate(stream):
            if number in {1, 500}:
                time.sleep(0.5)
            size += len(chunk.choices[0].delta.content or "")
    assert size == 4000 * 4096


def test_many_at_once_are_each_answered_with_their_own(writer):
    async def ask_all():
        client = openai.AsyncOpenAI(
            base_url=f"{writer.url}/v1", api_key=writer.token, max_retries=0, timeout=30
        )
        async with client:

            async def ask(number):
                answer = await client.chat.completions.create(
                    model="m", messages=user(f"number {number}"), stream=number % 2 == 0
                )
                if number % 2:
                    return answer.choices[0].message.content
                return "".join([c.choices[0].delta.content or "" async for c in answer])

            return await asyncio.gather(*map(ask, range(30)))

    assert asyncio.run(ask_all()) == [f"number {number} " for number in range(30)]


def test_a_predict_that_yields_is_a_chat(servers):
    with openai_client(servers("streamer")) as client:
        answer = client.chat.completions.create(model="m", messages=user("abc"))
    assert answer.choices[0].message.content == "abc"


def test_a_model_without_text_says_so(servers):
    served = servers("plain")
    with openai_client(served) as client:
        with pytest.raises(openai.InternalServerError, match="writes no text") as refusal:
            client.chat.completions.create(model="m", messages=user("x"))
        assert refusal.value.status_code == 501
        with pytest.raises(openai.InternalServerError, match="makes no vectors"):
            client.embeddings.create(model="m", input="x")
    with closing(gemini_client(served)) as client, pytest.raises(errors.ServerError) as refused:
        client.models.generate_content(model="m", contents="x")
    assert (refused.value.code, refused.value.status) == (501, "UNIMPLEMENTED")


# Gemini


@pytest.fixture(params=["gemini", "vertex"])
def client(request, writer) -> Iterator[genai.Client]:
    make = gemini_client if request.param == "gemini" else vertex_client
    with closing(make(writer)) as found:
        yield found


def test_gemini_generates(client):
    answer = client.models.generate_content(
        model="gemini-2.5-flash",
        contents="hello you",
        config=types.GenerateContentConfig(system_instruction="be brief"),
    )
    assert answer.text == "hello you "
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.prompt_token_count == 4
    assert answer.usage_metadata.candidates_token_count == 2
    assert answer.model_version == "gemini-2.5-flash"


def test_gemini_streams(client):
    chunks = list(client.models.generate_content_stream(model="m", contents="one two\u2028three"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["one ", "two\u2028three "]
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == 3


def test_gemini_keeps_a_conversation(client):
    chat = client.chats.create(model="m")
    assert chat.send_message("hello").text == "hello "
    assert chat.send_message("who").text == "user assistant user "


def test_gemini_cuts_a_text_that_has_no_end(client):
    for asked, text, reason in [
        ({"max_output_tokens": 2}, "word word ", types.FinishReason.MAX_TOKENS),
        ({"stop_sequences": ["d w"]}, "wor", types.FinishReason.STOP),
    ]:
        config = types.GenerateContentConfig(**asked)
        answer = client.models.generate_content(model="m", contents="forever", config=config)
        assert answer.text == text
        assert answer.candidates[0].finish_reason == reason


def test_gemini_counts_tokens(client):
    tokens = client.models.count_tokens(model="m", contents="one two three").total_tokens
    assert tokens in {3, 4}  # as the model counts them, or roughly


def test_gemini_is_told_by_name_what_is_not_taken(client):
    config = types.GenerateContentConfig(response_mime_type="application/json")
    with pytest.raises(errors.ClientError) as refusal:
        client.models.generate_content(model="m", contents="x", config=config)
    assert refusal.value.code == 400
    assert refusal.value.status == "INVALID_ARGUMENT"
    violation = refusal.value.details["error"]["details"][0]["fieldViolations"][0]
    assert violation["field"] == "generationConfig.responseMimeType"


def test_gemini_is_told_of_an_image(client):
    image = types.Part.from_bytes(data=b"x", mime_type="image/png")
    with pytest.raises(errors.ClientError, match="inlineData"):
        client.models.generate_content(model="m", contents=[image])


def test_gemini_is_told_that_the_model_failed(client):
    with pytest.raises(errors.ServerError):
        client.models.generate_content(model="m", contents="fail")
    with pytest.raises(errors.ServerError, match="no more"):
        list(client.models.generate_content_stream(model="m", contents="break off"))


def test_gemini_lists_models(client):
    assert [model.name.rpartition("/")[2] for model in client.models.list()] == ["words"]
    assert client.models.get(model="any").name.endswith("models/any")


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_gemini_asks_many_at_once(client):
    async def ask_all():
        async def ask(number):
            answer = await client.aio.models.generate_content(model="m", contents=f"n {number}")
            return answer.text

        try:
            return await asyncio.gather(*map(ask, range(10)))
        finally:
            await client.aio.aclose()

    assert asyncio.run(ask_all()) == [f"n {number} " for number in range(10)]


def test_gemini_embeds(writer):
    with closing(gemini_client(writer)) as client:
        answer = client.models.embed_content(model="m", contents=["a", "abc"])
        assert [one.values for one in answer.embeddings] == [[1.0, 0.5], [3.0, 0.5]]
        config = types.EmbedContentConfig(output_dimensionality=1)
        with pytest.raises(errors.ClientError, match="outputDimensionality"):
            client.models.embed_content(model="m", contents="a", config=config)


def test_vertex_embeds_with_predict(writer):
    with closing(vertex_client(writer)) as client:
        answer = client.models.embed_content(model="text-embedding-005", contents=["a", "abc"])
        assert [one.values for one in answer.embeddings] == [[1.0, 0.5], [3.0, 0.5]]
        config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY")
        with pytest.raises(errors.ClientError, match="taskType"):
            client.models.embed_content(model="m", contents="a", config=config)


def test_gemini_is_told_of_a_wrong_token(writer):
    stranger = Served(writer.url, "somebody-else-s-and-long-enough")
    with closing(gemini_client(stranger)) as client, pytest.raises(errors.ClientError) as refusal:
        client.models.generate_content(model="m", contents="x")
    assert (refusal.value.code, refusal.value.status) == (401, "UNAUTHENTICATED")


def test_the_environment_alone_points_gemini_here(servers, monkeypatch):
    served = servers("worker")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", served.url)
    monkeypatch.setenv("GEMINI_API_KEY", served.token)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with closing(genai.Client()) as client:
        assert client.models.generate_content(model="m", contents="hi").text == "hi "


def test_the_environment_alone_points_openai_here(servers, monkeypatch):
    served = servers("worker")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{served.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", served.token)
    with openai.OpenAI() as client:
        answer = client.chat.completions.create(model="m", messages=user("hi"))
    assert answer.choices[0].message.content == "hi "
