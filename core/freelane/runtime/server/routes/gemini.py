"""Gemini's routes, as its API has them and as Vertex AI does; any name of a model is taken.

google-genai asks them with `http_options=HttpOptions(base_url="http://127.0.0.1:PORT")` and the
endpoint's token as its API key, or GOOGLE_GEMINI_BASE_URL and GEMINI_API_KEY say so.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import parse_qs, unquote

from freelane.model.generation import Finish, Generation, TokenUsage
from freelane.runtime.portable.codec import JSON
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.routes.cutting import rough_count
from freelane.runtime.server.routes.text import (
    EVENTS,
    ask_count,
    ask_text,
    ask_vectors,
    field_of,
    read,
)
from freelane.runtime.server.table import ErrorReply, Route
from freelane.wire import gemini

_PLACE = r"/v1(?:beta1)?/(?:projects/[^/:]+/locations/[^/:]+/)?"
_MODELS = r"/v1(?:alpha|beta)?/(?:models|tunedModels)"
_PUBLISHED = rf"{_PLACE}publishers/[^/:]+/models"
_DEPLOYED = r"/v1(?:beta1)?/projects/[^/:]+/locations/[^/:]+/endpoints"
_NAME = r"(?P<model>[^/:]{1,200})"
_ANY_MODEL = rf"(?:{_MODELS}|{_PUBLISHED}|{_DEPLOYED})/{_NAME}"
_LISTS = r"/v1(?:alpha|beta)/(?:models|tunedModels)"  # /v1/models is OpenAI's too
_SDK_HEADERS = ("x-goog-api-key", "x-goog-api-client")

Answer = Callable[[Exchange, dict[str, str]], None]


def form(problem: Problem, request_id: str) -> ErrorReply:
    """A problem as Google's APIs tell it."""
    status, body = gemini.encode_error(
        problem.status,
        problem.message,
        name=request_id,
        field=field_of(problem),
        quota=problem.details if "quota_id" in problem.details else None,
        retry_s=problem.headers.get("Retry-After"),
    )
    return ErrorReply(status, body)


class _Voice:
    """Tells a text as candidates."""

    def __init__(self, model: str, exchange: Exchange, *, sse: bool) -> None:
        self.kind = EVENTS if sse else JSON
        self._model = model
        self._id = exchange.id
        self._writer = gemini.Writer(model=model, name=exchange.id, sse=sse)
        self.start = self._writer.start
        self.text = self._writer.text

    def whole(self, generation: Generation) -> bytes:
        return gemini.generation_reply(generation, model=self._model, name=self._id)

    def end(self, finish: Finish, usage: TokenUsage) -> bytes:
        return self._writer.end(finish, usage)

    def failed(self, problem: Problem) -> bytes:
        return self._writer.failed(form(problem, self._id).body)


def routes(name: str, admission: Admission) -> Iterator[Route]:
    """The routes of the endpoint `name`."""
    yield _post("generateContent", "generate", partial(_generate, admission))
    yield _post("streamGenerateContent", "stream", partial(_stream, admission))
    yield _post("countTokens", "count_tokens", partial(_count, admission))
    yield _post("embedContent", "embed", partial(_embed_one, admission))
    yield _post("batchEmbedContents", "batch_embed", partial(_embed_many, admission))
    yield _get(_LISTS, "models", lambda exchange, _: exchange.reply(200, models(name, admission)))
    yield _get(
        rf"/v1(?:alpha|beta)/(?:models|tunedModels)/{_NAME}",
        "model",
        lambda exchange, named: exchange.reply(200, model(unquote(named["model"]), admission)),
    )
    yield _get(
        _PUBLISHED,
        "models",
        lambda exchange, _: exchange.reply(200, gemini.publisher_models_reply(name)),
    )
    yield _get(
        f"{_PUBLISHED}/{_NAME}",
        "model",
        lambda exchange, named: exchange.reply(
            200, gemini.publisher_model_reply(unquote(named["model"]))
        ),
    )


def is_asked_by_its_sdk(exchange: Exchange) -> bool:
    """Whether google-genai asks, whose newer versions have /v1/models in common with OpenAI's."""
    return any(name in exchange.headers for name in _SDK_HEADERS)


def embeds_instances(admission: Admission, exchange: Exchange) -> bool:
    """Answer a predict request of Vertex AI's embedding models; False where it is another.

    google-genai asks a published model for vectors so.

    Raises:
        Problem: It is refused.
    """
    hello = admission.hello
    if hello is None or not hello.embeds:
        return False
    texts = read(exchange, gemini.decode_instances)
    if texts is None:
        return False
    tokens = [rough_count([text]) for text in texts]
    write = partial(gemini.instances_reply, tokens=tokens)
    ask_vectors(admission, exchange, texts, write, form=form)
    return True


def models(name: str, admission: Admission) -> bytes:
    """The answer of models.list."""
    return gemini.models_reply(name, methods=_methods(admission))


def model(name: str, admission: Admission) -> bytes:
    """The answer of models.get."""
    return gemini.model_reply(name, methods=_methods(admission))


def _methods(admission: Admission) -> list[str]:
    hello = admission.hello
    found: list[str] = []
    if hello is None or hello.generates:
        found += gemini.METHODS
    if hello is None or hello.embeds:
        found += gemini.EMBEDDING_METHODS
    return found


def _post(method: str, operation: str, answer: Answer) -> Route:
    return Route(
        method="POST",
        path=re.compile(f"{_ANY_MODEL}:{method}"),
        operation=f"gemini.{operation}",
        answer=answer,
        form=form,
    )


def _get(path: str, operation: str, answer: Answer) -> Route:
    return Route(
        method="GET",
        path=re.compile(path),
        operation=f"gemini.{operation}",
        answer=answer,
        form=form,
        largest=0,
    )


def _generate(admission: Admission, exchange: Exchange, named: dict[str, str]) -> None:
    request = read(exchange, gemini.decode_generation)
    voice = _Voice(unquote(named["model"]), exchange, sse=False)
    ask_text(admission, exchange, request, voice, form=form, stream=False)


def _stream(admission: Admission, exchange: Exchange, named: dict[str, str]) -> None:
    request = read(exchange, gemini.decode_generation)
    asked = parse_qs(exchange.query)
    sse = "sse" in (asked.get("alt") or asked.get("$alt") or ())
    voice = _Voice(unquote(named["model"]), exchange, sse=sse)
    ask_text(admission, exchange, request, voice, form=form, stream=True)


def _count(admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    texts = read(exchange, gemini.decode_count)
    ask_count(admission, exchange, texts, gemini.count_reply, form=form)


def _embed_one(admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    texts = read(exchange, gemini.decode_embedding)
    ask_vectors(admission, exchange, texts, gemini.embedding_reply, form=form)


def _embed_many(admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    texts = read(exchange, gemini.decode_embeddings)
    ask_vectors(admission, exchange, texts, gemini.embeddings_reply, form=form)
