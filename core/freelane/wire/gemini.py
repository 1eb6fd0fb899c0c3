"""Gemini's routes as a server tells them: generateContent, countTokens, embedContent, models.

`decode_*` reads what is asked, `*_reply` and `Writer` write what is answered. Names may come in
snake_case too, as the real service takes them. What no text model of ours does is refused by the
name of its field.
"""

import json
import re
from collections.abc import Mapping, Sequence

from freelane.model.generation import (
    Finish,
    Generation,
    GenerationRequest,
    Message,
    Role,
    Sampling,
    TokenUsage,
)
from freelane.model.prediction import JsonValue
from freelane.wire.fields import Fields
from freelane.wire.sse import event, quoted
from freelane.wire.strict_json import dumps, loads

MOST_STOPS = 16
LONGEST_STOP = 1000
MOST_REQUESTS = 2048
_MOST_TOKENS = 2**31 - 1
_SNAKE = re.compile(r"_([a-z])")
_ROLES = {None: Role.USER, "": Role.USER, "user": Role.USER, "model": Role.ASSISTANT}
_FINISH = {Finish.STOP: "STOP", Finish.LENGTH: "MAX_TOKENS"}
_UNFILTERED = {"OFF", "BLOCK_NONE"}
METHODS = ("generateContent", "streamGenerateContent", "countTokens")
EMBEDDING_METHODS = ("embedContent", "batchEmbedContents")


# What is asked.


def decode_generation(body: bytes) -> GenerationRequest:
    """The request of generateContent and streamGenerateContent.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = _fields(loads(body), "")
    messages = _conversation(fields)
    config = fields.take("generationConfig")
    sampling = _sampling(_fields(config, "generationConfig")) if config else Sampling()
    for index, setting in enumerate(fields.items("safetySettings") or ()):
        _check_unfiltered(_fields(setting, f"safetySettings[{index}]"))
    fields.hints("model", "labels")
    fields.end()
    return GenerationRequest(messages=messages, sampling=sampling)


def decode_count(body: bytes) -> list[str]:
    """The texts whose tokens countTokens asks for.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = _fields(loads(body), "")
    inner = fields.take("generateContentRequest")
    if inner is not None:
        fields.end()
        fields = _fields(inner, "generateContentRequest")
    messages = _conversation(fields)
    fields.hints("model", "generationConfig", "safetySettings", "labels")
    fields.end()
    return [message.content for message in messages]


def decode_embedding(body: bytes) -> list[str]:
    """The one text of embedContent, in a list.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    return [_text_to_embed(_fields(loads(body), ""))]


def decode_embeddings(body: bytes) -> list[str]:
    """The texts of batchEmbedContents.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = _fields(loads(body), "")
    requests = fields.items("requests", most=MOST_REQUESTS)
    if not requests:
        raise fields.refused("requests", "is missing or empty")
    fields.hints("model")
    fields.end()
    return [
        _text_to_embed(_fields(one, f"requests[{index}]")) for index, one in enumerate(requests)
    ]


def decode_instances(body: bytes) -> list[str] | None:
    """The texts of a predict request as Vertex AI's embedding models take it; None: it is another.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = _fields(loads(body), "")
    instances = fields.items("instances")
    if not instances or not all(isinstance(i, dict) and "content" in i for i in instances):
        return None
    texts = []
    for index, instance in enumerate(instances):
        one = _fields(instance, f"instances[{index}]")
        text = one.text("content")
        one.end()
        if not text:
            raise one.refused("content", "is empty")
        texts.append(text)
    parameters = _fields(fields.take("parameters") or {}, "parameters")
    parameters.hints("autoTruncate")
    parameters.end()
    fields.end()
    return texts


def _fields(document: JsonValue, where: str) -> Fields:
    if isinstance(document, dict):
        document = {_SNAKE.sub(_upper, name): value for name, value in document.items()}
    return Fields(document, where)


def _upper(match: re.Match[str]) -> str:
    return match[1].upper()


def _conversation(fields: Fields) -> list[Message]:
    contents = fields.take("contents")
    if isinstance(contents, dict):  # a single one, as Vertex AI takes it too
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise fields.refused("contents", "is missing, empty or no list")
    messages = []
    instruction = fields.take("systemInstruction")
    if instruction is not None:
        said = _fields(instruction, fields.path("systemInstruction"))
        said.hints("role")
        messages.append(Message(Role.SYSTEM, _text(said)))
    for index, content in enumerate(contents):
        one = _fields(content, f"{fields.path('contents')}[{index}]")
        role = _ROLES.get(one.text("role"))
        if role is None:
            raise one.refused("role", "is neither user nor model")
        messages.append(Message(role, _text(one)))
    return messages


def _text(content: Fields) -> str:
    parts = content.take("parts")
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        raise content.refused("parts", "is missing, empty or no list")
    texts = []
    for index, part in enumerate(parts):
        fields = _fields(part, f"{content.path('parts')}[{index}]")
        text = fields.text("text")
        fields.off("thought")
        fields.end()
        if text is None:
            raise fields.refused("text", "is missing; this endpoint reads text alone")
        texts.append(text)
    content.end()
    return "".join(texts)


def _sampling(config: Fields) -> Sampling:
    sampling = Sampling(
        temperature=config.number("temperature", 0, 2),
        top_p=config.number("topP", 0, 1),
        max_tokens=config.whole("maxOutputTokens", 1, _MOST_TOKENS),
        stop=config.texts("stopSequences", most=MOST_STOPS, longest=LONGEST_STOP),
        seed=config.whole("seed", -(2**63), 2**63 - 1),
    )
    config.only("candidateCount", 1, why="is not 1; this endpoint gives one answer a request")
    config.only("responseMimeType", "", "text/plain", why="takes only text/plain here")
    config.only("responseModalities", ["TEXT"], why="takes only TEXT here")
    config.only("presencePenalty", 0, 0.0)
    config.only("frequencyPenalty", 0, 0.0)
    config.only("thinkingConfig", {"thinkingBudget": 0}, {"thinking_budget": 0})
    config.off("responseLogprobs")
    config.end()
    return sampling


def _check_unfiltered(setting: Fields) -> None:
    setting.hints("category", "method")
    if setting.text("threshold") not in _UNFILTERED:
        raise setting.refused("threshold", "is not OFF or BLOCK_NONE: nothing is filtered here")
    setting.end()


def _text_to_embed(fields: Fields) -> str:
    text = _text(_embedded(fields))
    fields.hints("model", "autoTruncate")
    fields.end()
    if not text:
        raise fields.refused("content", "is empty")
    return text


def _embedded(fields: Fields) -> Fields:
    content = _fields(fields.take("content"), fields.path("content"))
    content.hints("role")
    return content


# What is answered.


def generation_reply(generation: Generation, *, model: str, name: str) -> bytes:
    """The whole answer of generateContent; `name` names the request."""
    return dumps(
        {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": generation.text}]},
                    "finishReason": _FINISH[generation.finish],
                    "index": 0,
                }
            ],
            "usageMetadata": _usage(generation.usage or TokenUsage()),
            "modelVersion": model,
            "responseId": name,
        },
        what="the answer",
    )


def _usage(usage: TokenUsage) -> dict[str, JsonValue]:
    return {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.input + usage.output,
    }


class Writer:
    """Writes a streamed answer: `start`, `text`..., then `end` or `failed`."""

    def __init__(self, *, model: str, name: str, sse: bool) -> None:
        """`sse`: server-sent events (`alt=sse`), else one JSON array that grows."""
        tail = json.dumps({"modelVersion": model, "responseId": name}, separators=(",", ":"))
        self._tail = b"," + tail.encode()[1:]
        self._sse = sse
        self._is_first = True

    def start(self) -> bytes:
        """What comes before all text."""
        return b"" if self._sse else b"["

    def text(self, text: str) -> bytes:
        """A piece of the text."""
        return self._chunk(quoted(text), b"")

    def end(self, finish: Finish, usage: TokenUsage) -> bytes:
        """The text is complete."""
        told = json.dumps(_usage(usage), separators=(",", ":")).encode()
        reason = b'"finishReason":"' + _FINISH[finish].encode() + b'",'
        last = self._chunk(b'""', reason, b',"usageMetadata":' + told)
        return last if self._sse else last + b"]"

    def failed(self, error: bytes) -> bytes:
        """There is no more of it; `error` is the body of `encode_error`."""
        return self._written(error) if self._sse else self._written(error) + b"]"

    def _chunk(self, said: bytes, reason: bytes, usage: bytes = b"") -> bytes:
        content = b'{"content":{"role":"model","parts":[{"text":' + said + b"}]},"
        candidate = b'{"candidates":[' + content + reason + b'"index":0}]'
        return self._written(candidate + usage + self._tail)

    def _written(self, chunk: bytes) -> bytes:
        if self._sse:
            return event(chunk, end=b"\r\n\r\n")
        comma = b"" if self._is_first else b",\r\n"
        self._is_first = False
        return comma + chunk


def count_reply(tokens: int) -> bytes:
    """The answer of countTokens."""
    return dumps({"totalTokens": tokens})


def embedding_reply(vectors: Sequence[Sequence[float]]) -> bytes:
    """The answer of embedContent: the first of the vectors."""
    return dumps({"embedding": {"values": vectors[0]}}, what="the answer")


def embeddings_reply(vectors: Sequence[Sequence[float]]) -> bytes:
    """The answer of batchEmbedContents."""
    return dumps({"embeddings": [{"values": vector} for vector in vectors]}, what="the answer")


def instances_reply(vectors: Sequence[Sequence[float]], *, tokens: Sequence[int]) -> bytes:
    """The answer of a predict request as Vertex AI's embedding models give it."""
    predictions = [
        {"embeddings": {"values": vector, "statistics": {"truncated": False, "token_count": count}}}
        for vector, count in zip(vectors, tokens, strict=True)
    ]
    return dumps({"predictions": predictions}, what="the answer")


def model_reply(name: str, *, methods: Sequence[str]) -> bytes:
    """The answer of models.get; `methods` are what the model does."""
    return dumps(_described(f"models/{name}", name, methods))


def models_reply(name: str, *, methods: Sequence[str]) -> bytes:
    """The answer of models.list: the one model that there is."""
    return dumps({"models": [_described(f"models/{name}", name, methods)]})


def publisher_model_reply(name: str) -> bytes:
    """The answer of models.get in Vertex AI's form."""
    return dumps({"name": f"publishers/google/models/{name}", "versionId": "1"})


def publisher_models_reply(name: str) -> bytes:
    """The answer of models.list in Vertex AI's form."""
    model = {"name": f"publishers/google/models/{name}", "versionId": "1"}
    return dumps({"publisherModels": [model]})


def _described(path: str, name: str, methods: Sequence[str]) -> dict[str, JsonValue]:
    return {
        "name": path,
        "version": "1",
        "displayName": name,
        "supportedGenerationMethods": list(methods),
    }


_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    507: "RESOURCE_EXHAUSTED",
}
_TYPES = "type.googleapis.com/google.rpc."


def encode_error(
    status: int,
    message: str,
    *,
    name: str | None = None,
    field: str | None = None,
    quota: Mapping[str, JsonValue] | None = None,
    retry_s: str | None = None,
) -> tuple[int, bytes]:
    """Status and body of an error, as google.rpc.Status.

    Args:
        status: The HTTP status as the house tells it.
        message: For people.
        name: Names the request.
        field: The field of the body that is wrong.
        quota: `quota_id` and `limit` of the rate that is used up.
        retry_s: In how many seconds it may be tried again.
    """
    if status in {411, 413, 415, 422}:
        status = 400  # the API knows only one way to be asked wrongly
    details: list[JsonValue] = []
    if field is not None:
        violation = {"field": field, "description": message}
        details.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]})
    if quota is not None:
        limit: dict[str, JsonValue] = {
            "quotaId": quota.get("quota_id"),
            "quotaValue": str(quota.get("limit")),
        }
        details.append({"@type": f"{_TYPES}QuotaFailure", "violations": [limit]})
    if retry_s is not None:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{retry_s}s"})
    if name is not None:
        details.append({"@type": f"{_TYPES}RequestInfo", "requestId": name})
    unknown = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"  # noqa: PLR2004 - the server's side of the statuses
    error = {
        "code": status,
        "message": message,
        "status": _STATUS.get(status, unknown),
        "details": details,
    }
    return status, dumps({"error": error})
