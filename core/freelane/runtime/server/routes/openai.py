"""OpenAI's text routes: chat completions, completions, embeddings, models.

A caller's own SDK asks them with `base_url="http://127.0.0.1:PORT/v1"` and the endpoint's token as
its API key. Any name of a model is taken, and told back.
"""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import unquote

from freelane.model.generation import Finish, Generation, TokenUsage
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.routes import gemini
from freelane.runtime.server.routes.cutting import rough_count
from freelane.runtime.server.routes.text import EVENTS, ask_text, ask_vectors, field_of, read
from freelane.runtime.server.table import ErrorReply, Route
from freelane.wire import openai

_BASE = "/v1"
_MODEL = re.compile(rf"{_BASE}/models/(?P<model>[^/:]{{1,200}}(?:/[^/:]{{1,200}})?)")
_FINAL = {500, 501, 504}
"""Statuses after which the SDK would ask again in vain, or make the model run twice."""


def form(problem: Problem, _request_id: str) -> ErrorReply:
    """A problem as OpenAI's API tells it; the request's id is told by x-request-id."""
    status, body = openai.encode_error(
        problem.status,
        problem.type,
        problem.message,
        field=field_of(problem),
        quota=problem.details if "quota_id" in problem.details else None,
    )
    again = (("x-should-retry", "false"),) if status in _FINAL else ()
    return ErrorReply(status, body, headers=again)


class _Voice:
    """Tells a text as a chat, or as a completion."""

    kind = EVENTS

    def __init__(
        self, call: openai.GenerationCall, model: str, exchange: Exchange, *, chat: bool
    ) -> None:
        self._whole = openai.chat_reply if chat else openai.completion_reply
        self._model = model
        self._id = exchange.id
        self._created = int(time.time())
        self._writer = openai.Writer(
            chat=chat,
            model=model,
            name=exchange.id,
            created=self._created,
            include_usage=call.include_usage,
        )
        self.start = self._writer.start
        self.text = self._writer.text

    def whole(self, generation: Generation) -> bytes:
        return self._whole(generation, model=self._model, name=self._id, created=self._created)

    def end(self, finish: Finish, usage: TokenUsage) -> bytes:
        return self._writer.end(finish, usage)

    def failed(self, problem: Problem) -> bytes:
        return self._writer.failed(form(problem, self._id).body)


def routes(name: str, admission: Admission) -> Iterator[Route]:
    """The routes of the endpoint `name`."""
    created = int(time.time())
    yield _post(openai.CHAT_PATH, "openai.chat", partial(_chat, name, admission))
    yield _post(openai.COMPLETION_PATH, "openai.completions", partial(_completion, name, admission))
    yield _post(openai.EMBEDDINGS_PATH, "openai.embeddings", partial(_embed, name, admission))
    yield _get(
        _BASE + openai.MODELS_PATH, "openai.models", partial(_models, name, admission, created)
    )
    yield _get(_MODEL, "openai.model", partial(_model, admission, created))


def _post(path: str, operation: str, answer: Callable[[Exchange, dict[str, str]], None]) -> Route:
    return Route(method="POST", path=_BASE + path, operation=operation, answer=answer, form=form)


def _get(
    path: str | re.Pattern[str],
    operation: str,
    answer: Callable[[Exchange, dict[str, str]], None],
) -> Route:
    return Route(method="GET", path=path, operation=operation, answer=answer, form=form, largest=0)


def _chat(name: str, admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    call = read(exchange, openai.decode_chat)
    voice = _Voice(call, call.model or name, exchange, chat=True)
    ask_text(admission, exchange, call.request, voice, form=form, stream=call.stream)


def _completion(
    name: str, admission: Admission, exchange: Exchange, _named: dict[str, str]
) -> None:
    call = read(exchange, openai.decode_completion)
    voice = _Voice(call, call.model or name, exchange, chat=False)
    ask_text(admission, exchange, call.request, voice, form=form, stream=call.stream)


def _embed(name: str, admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    call = read(exchange, openai.decode_embedding)
    write = partial(
        openai.embeddings_reply,
        model=call.model or name,
        tokens=rough_count(call.texts),
        base64_floats=call.base64,
    )
    ask_vectors(admission, exchange, call.texts, write, form=form)


def _models(
    name: str, admission: Admission, created: int, exchange: Exchange, _named: dict[str, str]
) -> None:
    if gemini.is_asked_by_its_sdk(exchange):  # which asks below /v1 too
        exchange.reply(200, gemini.models(name, admission))
    else:
        exchange.reply(200, openai.models_reply([name], created=created))


def _model(admission: Admission, created: int, exchange: Exchange, named: dict[str, str]) -> None:
    model = unquote(named["model"])
    if gemini.is_asked_by_its_sdk(exchange):
        exchange.reply(200, gemini.model(model, admission))
    else:
        exchange.reply(200, openai.model_reply(model, created=created))
