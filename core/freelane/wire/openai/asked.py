"""What is asked of OpenAI's text routes, read and written.

What no text model of ours does (tools, images, audio, several choices, schemas) is refused by the
name of its field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from freelane.model.generation import GenerationRequest, Message, Role, Sampling
from freelane.model.prediction import JsonValue
from freelane.wire.fields import Fields
from freelane.wire.strict_json import dumps

CHAT_PATH = "/chat/completions"
COMPLETION_PATH = "/completions"
EMBEDDINGS_PATH = "/embeddings"
MODELS_PATH = "/models"
"""Below the base URL, which ends in /v1."""

LONGEST_NAME = 200
MOST_STOPS = 16
LONGEST_STOP = 1000
MOST_TEXTS = 2048
MOST_TOKENS = 2**31 - 1
_LONGEST_SEED = 2**63
_ROLES = {"system": Role.SYSTEM, "developer": Role.SYSTEM, "user": Role.USER}
_HINTS = ("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCall:
    """What one request for text asks."""

    model: str
    """As the caller names it, which the answer echoes; empty where it does not."""
    request: GenerationRequest
    stream: bool = False
    include_usage: bool = False
    """Whether a stream tells the tokens before it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCall:
    """What one request for vectors asks."""

    model: str
    texts: Sequence[str]
    base64: bool = False
    """Whether the vectors come back as little-endian floats of 32 bits in base64."""


def decode_chat(body: bytes) -> GenerationCall:
    """The request of `/v1/chat/completions`.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = Fields.of_body(body)
    messages = fields.items("messages")
    if not messages:
        raise fields.refused("messages", "is missing or empty")
    request = GenerationRequest(
        messages=[_message(one, f"messages[{index}]") for index, one in enumerate(messages)],
        sampling=_sampling(fields, "max_completion_tokens", "max_tokens"),
    )
    fields.only("response_format", {"type": "text"}, why="takes only the type text here")
    fields.only("modalities", ["text"], why="takes only text here")
    fields.off("logprobs")
    fields.only("top_logprobs", 0)
    fields.only("tool_choice", "none", "auto")
    fields.hints("parallel_tool_calls")  # there are no tools
    return _call(fields, request)


def decode_completion(body: bytes) -> GenerationCall:
    """The request of `/v1/completions`.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = Fields.of_body(body)
    prompt = fields.take("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise fields.refused("prompt", "is not one string; tokens and lists are not taken here")
    request = GenerationRequest(prompt=prompt, sampling=_sampling(fields, "max_tokens"))
    fields.off("echo")
    fields.only("best_of", 1)
    fields.only("suffix", "")
    return _call(fields, request)


def decode_embedding(body: bytes) -> EmbeddingCall:
    """The request of `/v1/embeddings`.

    Raises:
        BodyRefused: It is none; FieldRefused names the field.
    """
    fields = Fields.of_body(body)
    model = _model(fields)
    texts = fields.texts("input", most=MOST_TEXTS, longest=10 * 2**20)
    if not texts:
        raise fields.refused("input", "is missing or empty")
    coding = fields.text("encoding_format") or "float"
    if coding not in {"float", "base64"}:
        raise fields.refused("encoding_format", "is neither float nor base64")
    fields.hints("user")
    fields.end()
    return EmbeddingCall(model=model, texts=texts, base64=coding == "base64")


def _call(fields: Fields, request: GenerationRequest) -> GenerationCall:
    model = _model(fields)
    stream = fields.flag("stream")
    options = fields.inner("stream_options")
    include_usage = False
    if options is not None:
        if not stream:
            raise fields.refused("stream_options", "is only taken with stream")
        include_usage = options.flag("include_usage")
        options.hints("include_obfuscation")
        options.end()
    fields.only("n", 1, why="is not 1; this endpoint gives one answer a request")
    fields.only("frequency_penalty", 0, 0.0)
    fields.only("presence_penalty", 0, 0.0)
    fields.only("service_tier", "auto", "default")
    fields.off("store")
    fields.hints(*_HINTS)
    fields.end()
    return GenerationCall(model=model, request=request, stream=stream, include_usage=include_usage)


def _model(fields: Fields) -> str:
    return fields.text("model", most=LONGEST_NAME) or ""


def _sampling(fields: Fields, *limits: str) -> Sampling:
    tokens = [fields.whole(name, 1, MOST_TOKENS) for name in limits]
    return Sampling(
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        max_tokens=next((each for each in tokens if each is not None), None),
        stop=fields.texts("stop", most=MOST_STOPS, longest=LONGEST_STOP),
        seed=fields.whole("seed", -_LONGEST_SEED, _LONGEST_SEED - 1),
    )


def _message(document: JsonValue, where: str) -> Message:
    fields = Fields(document, where)
    said_by = fields.text("role")
    role = Role.ASSISTANT if said_by == "assistant" else _ROLES.get(said_by or "")
    if role is None:
        raise fields.refused("role", "is none of system, developer, user and assistant")
    content = fields.take("content")
    if isinstance(content, list):
        content = "".join(
            _part(part, f"{where}.content[{index}]") for index, part in enumerate(content)
        )
    if content is None and role is Role.ASSISTANT:
        content = ""
    if not isinstance(content, str):
        raise fields.refused("content", "is neither a string nor a list of text parts")
    fields.end()
    return Message(role, content)


def _part(document: JsonValue, where: str) -> str:
    fields = Fields(document, where)
    kind = fields.text("type")
    if kind != "text":
        raise fields.refused("type", "is not text; this endpoint reads text alone")
    text = fields.text("text")
    if text is None:
        raise fields.refused("text", "is missing")
    fields.end()
    return text


def encode_generation(request: GenerationRequest, *, model: str, stream: bool) -> tuple[str, bytes]:
    """Path below the base URL, and body: a chat, or a completion of a bare prompt."""
    document: dict[str, JsonValue] = {"model": model, "stream": stream}
    if stream:
        document["stream_options"] = {"include_usage": True}
    if request.prompt is not None:
        document["prompt"] = request.prompt
    else:
        document["messages"] = [
            {"role": message.role.value, "content": message.content} for message in request.messages
        ]
    sampling = request.sampling
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
    }
    document.update({name: value for name, value in given.items() if value is not None})
    path = CHAT_PATH if request.prompt is None else COMPLETION_PATH
    return path, dumps(document, what="the request")


def encode_embedding(texts: Sequence[str], *, model: str) -> tuple[str, bytes]:
    """Path below the base URL, and body, that ask for vectors."""
    document = {"model": model, "input": list(texts), "encoding_format": "float"}
    return EMBEDDINGS_PATH, dumps(document, what="the request")
