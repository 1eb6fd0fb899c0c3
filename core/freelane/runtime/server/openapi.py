"""The OpenAPI document of an endpoint: every route of its table, as `descriptions` tell of it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version

import msgspec

from freelane.model.prediction import JsonValue
from freelane.runtime.server.descriptions import DESCRIPTIONS, SCHEMAS, TAGS, Described
from freelane.runtime.server.table import Route

_PLACE = re.compile(r"\{(\w+)\}")
_UNDESCRIBED = Described(tag="Other", summary="")
_HEADERS: Mapping[str, JsonValue] = {
    "x-request-id": {
        "description": "Names the request in the endpoint's log.",
        "schema": {"type": "string"},
    }
}


def encode(name: str, routes: Iterable[Route]) -> bytes:
    """The document as JSON, for the endpoint called `name`."""
    return msgspec.json.encode(document(name, routes))


def document(name: str, routes: Iterable[Route]) -> dict[str, JsonValue]:
    """OpenAPI 3.1 of all routes; those that only match patterns stand under their usual paths."""
    paths: dict[str, dict[str, JsonValue]] = {}
    tags: set[str] = set()
    told: Counter[str] = Counter()
    for route in routes:
        described = DESCRIPTIONS.get(route.operation, _UNDESCRIBED)
        for path in templates(route, described):
            place = paths.setdefault(path, {})
            if route.method.lower() not in place:
                number = told[route.operation]
                place[route.method.lower()] = _operation(name, route, described, path, number)
                told[route.operation] += 1
                tags.add(described.tag)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Freelane endpoint {name}",
            "version": version("freelane"),
            "summary": "One model, by the protocols of several clouds.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}, {"signature": []}],
        "tags": [{"name": tag, "description": about} for tag, about in TAGS.items() if tag in tags],
        "paths": dict(sorted(paths.items(), key=lambda row: row[0])),
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The endpoint's token, as `freelane endpoints NAME` tells it.",
                },
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-goog-api-key",
                    "description": "The same token, as Google's clients send it.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS4-HMAC-SHA256 with the token as the access key id, as "
                    "AWS's clients sign; the signature itself is not looked at.",
                },
            },
        },
    }


def templates(route: Route, described: Described) -> list[str]:
    """The paths of a route; of a pattern those that tell it in the documentation."""
    if isinstance(route.path, str):
        return [route.path]
    told = [path for path in described.paths if route.path.fullmatch(_filled(path))]
    return told or [f"/{route.operation}"]


def _filled(path: str) -> str:
    return _PLACE.sub("x1", path)


def _operation(
    name: str, route: Route, described: Described, path: str, number: int
) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "operationId": route.operation + (f".{number + 1}" if number else ""),
        "summary": described.summary,
        "tags": [described.tag],
    }
    if described.text:
        told["description"] = described.text
    if route.is_open:
        told["security"] = []
    parameters: list[JsonValue] = [_parameter(place, name) for place in _PLACE.findall(path)]
    parameters += described.parameters
    if parameters:
        told["parameters"] = parameters
    if described.request is not None:
        told["requestBody"] = {"required": True, "content": dict(described.request)}
    responses: dict[str, JsonValue] = {}
    for status, content in described.replies.items():
        reply: dict[str, JsonValue] = {
            "description": _WORDS.get(status, "Answered."),
            "headers": dict(_HEADERS),
        }
        if content is not None:
            reply["content"] = dict(content)
        responses[status] = reply
    error: dict[str, JsonValue] = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{described.error}"}}
    }
    if path != route.path and described.error != "Problem":
        either = [{"$ref": f"#/components/schemas/{one}"} for one in ("Problem", described.error)]
        responses["404"] = {
            "description": "There is no such path, or nothing of that name.",
            "content": {"application/json": {"schema": {"anyOf": list[JsonValue](either)}}},
        }
    for status, text in _REFUSALS.items():
        if status == "401" and route.is_open:
            continue
        responses.setdefault(
            status, {"description": text, "headers": dict(_HEADERS), "content": error}
        )
    told["responses"] = responses
    return told


_WORDS = {"200": "Answered.", "202": "Taken; the answer follows.", "204": "Done."}
_REFUSALS = {
    "401": "The token is missing or another's.",
    "4XX": "It is no such request, or refused; 429 says by Retry-After when to ask again.",
    "5XX": "The model failed, or cannot answer now.",
}


def _parameter(place: str, name: str) -> JsonValue:
    """A part of a path; what is called `name` is the endpoint's own, the rest may be any name."""
    schema: dict[str, JsonValue] = {"type": "string", "pattern": r"^[A-Za-z0-9._@-]{1,64}$"}
    return {
        "name": place,
        "in": "path",
        "required": True,
        "schema": {"enum": [name]} if place == "name" else schema,
        "example": _EXAMPLES.get(place, name),
    }


_EXAMPLES = {"project": "p", "location": "us-central1", "endpoint": "1", "version": "1"}
