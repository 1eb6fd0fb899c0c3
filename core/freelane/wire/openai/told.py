"""Whole answers of OpenAI's text routes, written and read, and errors."""

import base64
from array import array
from collections.abc import Mapping, Sequence

from freelane.model.generation import Embeddings, Finish, Generation, TokenUsage
from freelane.model.prediction import JsonValue
from freelane.wire.fields import inner_of, numbers
from freelane.wire.native import MAX_REPLY_BYTES, MAX_REPLY_DEPTH, read_object
from freelane.wire.strict_json import BodyRefused, dumps


def chat_reply(generation: Generation, *, model: str, name: str, created: int) -> bytes:
    """The whole answer of `/v1/chat/completions`; `name` names the request, `created` is Unix."""
    message = {"role": "assistant", "content": generation.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None}
    return _reply("chat.completion", f"chatcmpl-{name}", choice, generation, model, created)


def completion_reply(generation: Generation, *, model: str, name: str, created: int) -> bytes:
    """The whole answer of `/v1/completions`."""
    choice = {"index": 0, "text": generation.text, "logprobs": None}
    return _reply("text_completion", f"cmpl-{name}", choice, generation, model, created)


def _reply(
    kind: str,
    name: str,
    choice: Mapping[str, JsonValue],
    generation: Generation,
    model: str,
    created: int,
) -> bytes:
    return dumps(
        {
            "id": name,
            "object": kind,
            "created": created,
            "model": model,
            "system_fingerprint": None,
            "choices": [{**choice, "finish_reason": generation.finish.value}],
            "usage": usage_told(generation.usage or TokenUsage()),
        },
        what="the answer",
    )


def usage_told(usage: TokenUsage) -> dict[str, JsonValue]:
    """`usage` as an answer tells it."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }


def embeddings_reply(
    vectors: Sequence[Sequence[float]], *, model: str, tokens: int, base64_floats: bool
) -> bytes:
    """The answer of `/v1/embeddings`; `tokens` were read."""
    told = [_base64(vector) for vector in vectors] if base64_floats else vectors
    return dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(told)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        what="the answer",
    )


def _base64(vector: Sequence[float]) -> str:
    floats = array("f", vector)
    if _IS_BIG_ENDIAN:
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode("ascii")


_IS_BIG_ENDIAN = array("H", [1]).tobytes() == b"\x00\x01"


def model_reply(name: str, *, created: int) -> bytes:
    """The answer of `/v1/models/{name}`."""
    return dumps(_described(name, created))


def models_reply(names: Sequence[str], *, created: int) -> bytes:
    """The answer of `/v1/models`."""
    return dumps({"object": "list", "data": [_described(name, created) for name in names]})


def _described(name: str, created: int) -> dict[str, JsonValue]:
    return {"id": name, "object": "model", "created": created, "owned_by": "freelane"}


def encode_error(
    status: int,
    kind: str,
    message: str,
    *,
    field: str | None = None,
    quota: Mapping[str, JsonValue] | None = None,
) -> tuple[int, bytes]:
    """Status and body of an error; `kind` is the house's word for it.

    `quota` says beside it which of the endpoint's own limits is reached.
    """
    if status in {413, 415, 422}:
        status = 400  # the API knows only one way to be asked wrongly
    error = {
        "message": message,
        "type": _ERROR_TYPES.get(status, "server_error" if status >= 500 else _WRONG),  # noqa: PLR2004 - the server's side of the statuses
        "param": field,
        "code": _ERROR_CODES.get(status, kind),
    }
    return status, dumps({"error": {**error, **(quota or {})}})


_WRONG = "invalid_request_error"
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ERROR_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def decode_generation(body: bytes, *, request_id: str | None = None) -> Generation:
    """The whole text of an answer that is not streamed.

    Raises:
        BodyRefused: It is no such answer.
    """
    document = read_object(body, most_bytes=MAX_REPLY_BYTES, deepest=MAX_REPLY_DEPTH)
    choice = _choice_of(document)
    text = choice.get("text", inner_of(choice, "message").get("content"))
    if text is None and isinstance(choice.get("message"), dict):
        text = ""
    if not isinstance(text, str):
        raise BodyRefused(422, "the answer has no text")
    finish = finish_of(choice.get("finish_reason"))
    return Generation(text=text, finish=finish, usage=_usage_of(document), request_id=request_id)


def decode_embeddings(body: bytes) -> Embeddings:
    """The vectors of an answer, in the order of the texts.

    Raises:
        BodyRefused: It is no such answer.
    """
    document = read_object(body, most_bytes=MAX_REPLY_BYTES, deepest=MAX_REPLY_DEPTH)
    data = document.get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    rows.sort(key=lambda row: numbers(row.get("index")))
    found = [_vector(row.get("embedding")) for row in rows]
    if not found or not isinstance(data, list) or len(found) < len(data):
        raise BodyRefused(422, "the answer has no vectors")
    usage = _usage_of(document)
    return Embeddings(found, {} if usage is None else {"input_tokens": usage.input})


def _vector(value: JsonValue) -> list[float]:
    items = value if isinstance(value, list) else []
    vector = [float(item) for item in items if isinstance(item, int | float)]
    if not vector or len(vector) < len(items):
        raise BodyRefused(422, "the answer holds what is no vector")
    return vector


def decode_error(body: bytes) -> tuple[str, str]:
    """Message and type of an error's body; empty where it has none."""
    try:
        document = read_object(body)
    except BodyRefused:
        return "", ""
    error = document.get("error")
    if isinstance(error, str):  # Ollama's own routes answer so
        return error, ""
    told = inner_of(document, "error")
    message, kind = told.get("message"), told.get("type")
    return message if isinstance(message, str) else "", kind if isinstance(kind, str) else ""


def _choice_of(document: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The one choice of an answer.

    Raises:
        BodyRefused: It has none.
    """
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise BodyRefused(422, "the answer has no choices")


def finish_of(reason: JsonValue) -> Finish:
    """Why a text ends, in the words of the house."""
    return Finish.LENGTH if reason == "length" else Finish.STOP


def _usage_of(document: Mapping[str, JsonValue]) -> TokenUsage | None:
    """What an answer says that it took."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return TokenUsage(numbers(usage.get("prompt_tokens")), numbers(usage.get("completion_tokens")))
