"""What the documentation says of each operation: words, bodies, examples. Plain tables.

The schemas say what is looked at; what a protocol has beyond that is refused by name or let pass,
as the route does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from freelane.model.prediction import JsonValue

Content = Mapping[str, JsonValue]
"""Of each content type its schema and an example, as OpenAPI writes them."""

TAGS: Mapping[str, str] = {
    "Native": "Freelane's own route.",
    "Containers": "What a cloud asks of a container, on this endpoint too.",
    "SageMaker": "As SageMaker's runtime answers: point boto3's endpoint_url here.",
    "Vertex AI": "As Vertex AI's prediction service answers.",
    "Open Inference Protocol": "Version 2, in JSON and with binary tensors.",
    "Gemini": "As the Gemini API answers.",
    "OpenAI": "As OpenAI's API answers.",
    "Health": "Whether it lives and answers.",
    "Operation": "For whoever runs it.",
    "Other": "Beside the rest.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One operation, for readers."""

    tag: str
    summary: str
    text: str = ""
    paths: tuple[str, ...] = ()
    """How a route that matches a pattern is usually asked for."""
    parameters: tuple[JsonValue, ...] = ()
    """Beside those of the path."""
    request: Content | None = None
    replies: Mapping[str, Content | None] = field(default_factory=lambda: {"200": None})
    error: str = "Problem"
    """The schema of its refusals."""


def _json(schema: JsonValue, example: JsonValue = None) -> Content:
    return _as("application/json", schema, example)


def _as(kind: str, schema: JsonValue, example: JsonValue = None) -> Content:
    media: dict[str, JsonValue] = {"schema": schema}
    if example is not None:
        media["example"] = example
    return {kind: media}


def _ref(name: str) -> JsonValue:
    return {"$ref": f"#/components/schemas/{name}"}


def _header(name: str, about: str) -> JsonValue:
    return {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _query(name: str, about: str, schema: JsonValue) -> JsonValue:
    return {"name": name, "in": "query", "description": about, "schema": schema}


def _object(
    properties: Mapping[str, JsonValue], *required: str, **more: JsonValue
) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        **more,
    }


def _list(items: JsonValue, **more: JsonValue) -> dict[str, JsonValue]:
    return {"type": "array", "items": items, **more}


_TEXT: JsonValue = {"type": "string"}
_WHOLE: JsonValue = {"type": "integer"}
_ANY: JsonValue = {}
_ROWS: JsonValue = {"instances": [[5.1, 3.5, 1.4, 0.2]]}

SCHEMAS: Mapping[str, JsonValue] = {
    "Problem": _object(
        {
            "error": _object(
                {"type": _TEXT, "message": _TEXT, "request_id": {"type": ["string", "null"]}},
                "type",
                "message",
            )
        },
        "error",
    ),
    "SageMakerProblem": _object({"Message": _TEXT, "message": _TEXT, "OriginalStatusCode": _WHOLE}),
    "GoogleProblem": _object(
        {"error": _object({"code": _WHOLE, "message": _TEXT, "status": _TEXT}, "code", "message")},
        "error",
    ),
    "OpenAIProblem": _object(
        {"error": _object({"message": _TEXT, "type": _TEXT}, "message", "type")}, "error"
    ),
    "OipProblem": _object({"error": _TEXT}, "error"),
    "Rows": _object(
        {"instances": _list(_ANY), "parameters": {"type": ["object", "null"]}}, "instances"
    ),
    "Predictions": _object({"predictions": _list(_ANY)}, "predictions"),
    "Tensor": _object(
        {
            "name": _TEXT,
            "shape": _list({"type": "integer", "minimum": 0}),
            "datatype": {
                "enum": [
                    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
                    "INT64", "FP16", "FP32", "FP64", "BYTES",
                ]
            },
            "data": _list(_ANY),
        },
        "name", "shape", "datatype",
    ),
    "OipAnswer": _object({"model_name": _TEXT, "outputs": _list(_ref("Tensor"))}, "outputs"),
    "GeminiContent": _object(
        {"role": _TEXT, "parts": _list(_object({"text": _TEXT}), minItems=1)}, "parts"
    ),
    "GeminiRequest": _object(
        {
            "contents": _list(_ref("GeminiContent"), minItems=1),
            "systemInstruction": _ref("GeminiContent"),
            "generationConfig": _object(
                {
                    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                    "topP": {"type": "number", "minimum": 0, "maximum": 1},
                    "maxOutputTokens": {"type": "integer", "minimum": 1},
                    "stopSequences": _list(_TEXT, maxItems=5),
                    "seed": _WHOLE,
                }
            ),
        },
        "contents",
    ),
    "GeminiAnswer": _object({"candidates": _list({"type": "object"})}),
    "OpenAIMessage": _object(
        {"role": {"enum": ["system", "user", "assistant"]}, "content": _TEXT}, "role", "content"
    ),
}  # fmt: skip

_PREDICTIONS = _json(_ref("Predictions"), {"predictions": [0]})
_ANY_BODY: Content = {
    **_json(_ANY, _ROWS),
    **_as("text/csv", _TEXT, "5.1,3.5,1.4,0.2\n"),
    **_as("application/x-ndjson", _TEXT, "[5.1,3.5,1.4,0.2]\n"),
}
_ANY_REPLY: Content = {"*/*": {"schema": _ANY}}
_SSE: Content = _as("text/event-stream", _ANY)
_SAMPLING: Mapping[str, JsonValue] = {
    "model": _TEXT,
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "max_tokens": {"type": "integer", "minimum": 1},
    "stop": {"oneOf": [_TEXT, _list(_TEXT, maxItems=4)]},
    "seed": _WHOLE,
    "stream": {"type": "boolean"},
}
_VERTEX = "/v1/projects/{project}/locations/{location}"
_VERTEX_BETA = "/v1beta1/projects/{project}/locations/{location}"
_HEARD: JsonValue = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def _vertex(verb: str) -> tuple[str, ...]:
    return (
        f"{_VERTEX}/endpoints/{{endpoint}}:{verb}",
        f"{_VERTEX}/publishers/google/models/{{model}}:{verb}",
    )


def _gemini(verb: str) -> tuple[str, ...]:
    return (
        f"/v1beta/models/{{model}}:{verb}",
        f"{_VERTEX_BETA}/publishers/google/models/{{model}}:{verb}",
        f"{_VERTEX_BETA}/endpoints/{{endpoint}}:{verb}",
    )


DESCRIPTIONS: Mapping[str, Described] = {
    "health.alive": Described(
        tag="Health",
        summary="Whether the server lives",
        replies={"200": _json(_object({"status": _TEXT}, "status"))},
    ),
    "health.ready": Described(
        tag="Health",
        summary="Whether it answers requests now",
        text="A parked model counts as ready: the next request wakes it.",
        replies={"200": _json(_object({"status": _TEXT}, "status"))},
    ),
    "ops.metrics": Described(
        tag="Operation",
        summary="Its metrics, as Prometheus reads them",
        replies={"200": {**_as("text/plain", _TEXT), **_as("application/openmetrics-text", _TEXT)}},
    ),
    "ops.openapi": Described(
        tag="Operation", summary="This document", replies={"200": _json({"type": "object"})}
    ),
    "ops.docs": Described(
        tag="Operation", summary="The page that shows it", replies={"200": _as("text/html", _TEXT)}
    ),
    "native.predict": Described(
        tag="Native",
        summary="Predict",
        text="With `Accept: application/x-ndjson` the answer comes line by line, each "
        '`{"prediction": ...}`, as the model makes it.',
        paths=("/v1/endpoints/{endpoint}/predict",),
        request=_json(_ref("Rows"), _ROWS),
        replies={"200": {**_PREDICTIONS, **_as("application/x-ndjson", _TEXT)}},
    ),
    "container.ping": Described(
        tag="Containers", summary="Whether the container answers", replies={"200": _ANY_REPLY}
    ),
    "container.invocations": Described(
        tag="Containers",
        summary="Invoke, as SageMaker does a container",
        request=_ANY_BODY,
        replies={"200": _ANY_REPLY},
    ),
    "container.predict": Described(
        tag="Containers",
        summary="Predict, as Vertex AI asks a container",
        request=_json(_ref("Rows"), _ROWS),
        replies={"200": _PREDICTIONS},
    ),
    "sagemaker.invoke": Described(
        tag="SageMaker",
        summary="InvokeEndpoint",
        paths=("/endpoints/{name}/invocations",),
        parameters=(
            _header("X-Amzn-SageMaker-Custom-Attributes", "Given back as it came."),
            _header("X-Amzn-SageMaker-Inference-Id", "A name of the caller's, 64 characters."),
        ),
        request=_ANY_BODY,
        replies={"200": _ANY_REPLY},
        error="SageMakerProblem",
    ),
    "sagemaker.stream": Described(
        tag="SageMaker",
        summary="InvokeEndpointWithResponseStream",
        paths=("/endpoints/{name}/invocations-response-stream",),
        request=_ANY_BODY,
        replies={"200": _as("application/vnd.amazon.eventstream", _TEXT)},
        error="SageMakerProblem",
    ),
    "sagemaker.async": Described(
        tag="SageMaker",
        summary="InvokeEndpointAsync",
        text="The input is a file below the endpoint's `async_folder`; the answer is written "
        "beside it.",
        paths=("/endpoints/{name}/async-invocations",),
        parameters=(_header("X-Amzn-SageMaker-InputLocation", "s3://BUCKET/KEY of the input."),),
        replies={"202": _json(_object({"InferenceId": _TEXT}))},
        error="SageMakerProblem",
    ),
    "vertex.predict": Described(
        tag="Vertex AI",
        summary="predict",
        paths=_vertex("predict"),
        request=_json(_ref("Rows"), _ROWS),
        replies={"200": _PREDICTIONS},
        error="GoogleProblem",
    ),
    "vertex.raw_predict": Described(
        tag="Vertex AI",
        summary="rawPredict",
        paths=_vertex("rawPredict"),
        request=_ANY_BODY,
        replies={"200": _ANY_REPLY},
        error="GoogleProblem",
    ),
    "vertex.stream_raw_predict": Described(
        tag="Vertex AI",
        summary="streamRawPredict",
        paths=_vertex("streamRawPredict"),
        request=_ANY_BODY,
        replies={"200": _ANY_REPLY},
        error="GoogleProblem",
    ),
    "vertex.explain": Described(
        tag="Vertex AI",
        summary="explain: answered 501, nothing explains here",
        paths=_vertex("explain"),
        request=_json(_ref("Rows"), _ROWS),
        replies={},
        error="GoogleProblem",
    ),
    "vertex.endpoint": Described(
        tag="Vertex AI",
        summary="The endpoint, as clients look it up before they ask it",
        paths=(f"{_VERTEX}/endpoints/{{endpoint}}", f"{_VERTEX_BETA}/endpoints/{{endpoint}}"),
        replies={"200": _json(_object({"name": _TEXT}, "name"))},
        error="GoogleProblem",
    ),
    "oip.server": Described(
        tag="Open Inference Protocol",
        summary="What the server is",
        replies={"200": _json(_object({"name": _TEXT, "version": _TEXT}, "name"))},
        error="OipProblem",
    ),
    "oip.live": Described(
        tag="Open Inference Protocol", summary="Whether the server lives", error="OipProblem"
    ),
    "oip.ready": Described(
        tag="Open Inference Protocol", summary="Whether it answers now", error="OipProblem"
    ),
    "oip.model": Described(
        tag="Open Inference Protocol",
        summary="What the model is",
        paths=("/v2/models/{model}", "/v2/models/{model}/versions/{version}"),
        replies={"200": _json(_object({"name": _TEXT}, "name"))},
        error="OipProblem",
    ),
    "oip.model_ready": Described(
        tag="Open Inference Protocol",
        summary="Whether the model answers now",
        paths=("/v2/models/{model}/ready", "/v2/models/{model}/versions/{version}/ready"),
        error="OipProblem",
    ),
    "oip.infer": Described(
        tag="Open Inference Protocol",
        summary="Infer",
        paths=("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"),
        request=_json(
            _object({"id": _TEXT, "inputs": _list(_ref("Tensor"), minItems=1)}, "inputs"),
            {
                "inputs": [
                    {
                        "name": "rows",
                        "shape": [1, 4],
                        "datatype": "FP64",
                        "data": [[5.1, 3.5, 1.4, 0.2]],
                    }
                ]
            },
        ),
        replies={"200": {**_json(_ref("OipAnswer")), **_as("application/octet-stream", _TEXT)}},
        error="OipProblem",
    ),
    "gemini.generate": Described(
        tag="Gemini",
        summary="generateContent",
        paths=_gemini("generateContent"),
        request=_json(_ref("GeminiRequest"), _HEARD),
        replies={"200": _json(_ref("GeminiAnswer"))},
        error="GoogleProblem",
    ),
    "gemini.stream": Described(
        tag="Gemini",
        summary="streamGenerateContent",
        paths=_gemini("streamGenerateContent"),
        parameters=(_query("alt", "sse streams events, else one JSON list.", {"enum": ["sse"]}),),
        request=_json(_ref("GeminiRequest"), _HEARD),
        replies={"200": {**_json(_list(_ref("GeminiAnswer"))), **_SSE}},
        error="GoogleProblem",
    ),
    "gemini.count_tokens": Described(
        tag="Gemini",
        summary="countTokens",
        paths=_gemini("countTokens"),
        request=_json(_object({"contents": _list(_ref("GeminiContent"))}), _HEARD),
        replies={"200": _json(_object({"totalTokens": _WHOLE}, "totalTokens"))},
        error="GoogleProblem",
    ),
    "gemini.embed": Described(
        tag="Gemini",
        summary="embedContent",
        paths=_gemini("embedContent"),
        request=_json(
            _object({"content": _ref("GeminiContent")}, "content"),
            {"content": {"parts": [{"text": "Hello"}]}},
        ),
        replies={"200": _json(_object({"embedding": {"type": "object"}}))},
        error="GoogleProblem",
    ),
    "gemini.batch_embed": Described(
        tag="Gemini",
        summary="batchEmbedContents",
        paths=_gemini("batchEmbedContents"),
        request=_json(
            _object(
                {
                    "requests": _list(
                        _object({"model": _TEXT, "content": _ref("GeminiContent")}, "content")
                    )
                },
                "requests",
            ),
            {"requests": [{"content": {"parts": [{"text": "Hello"}]}}]},
        ),
        replies={"200": _json(_object({"embeddings": _list({"type": "object"})}))},
        error="GoogleProblem",
    ),
    "gemini.models": Described(
        tag="Gemini",
        summary="The models",
        paths=("/v1beta/models", f"{_VERTEX_BETA}/publishers/google/models"),
        replies={"200": _json(_object({"models": _list({"type": "object"})}))},
        error="GoogleProblem",
    ),
    "gemini.model": Described(
        tag="Gemini",
        summary="One model",
        paths=("/v1beta/models/{model}", f"{_VERTEX_BETA}/publishers/google/models/{{model}}"),
        replies={"200": _json(_object({"name": _TEXT}))},
        error="GoogleProblem",
    ),
    "openai.chat": Described(
        tag="OpenAI",
        summary="Chat",
        request=_json(
            _object(
                {**_SAMPLING, "messages": _list(_ref("OpenAIMessage"), minItems=1)}, "messages"
            ),
            {"model": "any", "messages": [{"role": "user", "content": "Hello"}]},
        ),
        replies={"200": {**_json(_object({"choices": _list({"type": "object"})})), **_SSE}},
        error="OpenAIProblem",
    ),
    "openai.completions": Described(
        tag="OpenAI",
        summary="Completion",
        request=_json(
            _object({**_SAMPLING, "prompt": _TEXT}, "prompt"), {"model": "any", "prompt": "Hello"}
        ),
        replies={"200": {**_json(_object({"choices": _list({"type": "object"})})), **_SSE}},
        error="OpenAIProblem",
    ),
    "openai.embeddings": Described(
        tag="OpenAI",
        summary="Embeddings",
        request=_json(
            _object(
                {
                    "model": _TEXT,
                    "input": {"oneOf": [_TEXT, _list(_TEXT, minItems=1)]},
                    "encoding_format": {"enum": ["float", "base64"]},
                },
                "input",
            ),
            {"model": "any", "input": ["Hello"]},
        ),
        replies={"200": _json(_object({"data": _list({"type": "object"})}))},
        error="OpenAIProblem",
    ),
    "openai.models": Described(
        tag="OpenAI",
        summary="The models",
        replies={"200": _json(_object({"data": _list({"type": "object"})}))},
        error="OpenAIProblem",
    ),
    "openai.model": Described(
        tag="OpenAI",
        summary="One model",
        paths=("/v1/models/{model}",),
        replies={"200": _json(_object({"id": _TEXT}))},
        error="OpenAIProblem",
    ),
}
