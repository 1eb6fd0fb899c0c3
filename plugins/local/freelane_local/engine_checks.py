"""What `doctor` asks the engines of `[providers.local.models]`: whether they answer."""

from collections.abc import Iterator, Mapping

from freelane.clock import Clock
from freelane.contract.provider import Check, Outcome
from freelane.errors import FreelaneError
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import Engine
from freelane.transport.http import Transport
from freelane.waiting import Deadline
from freelane.wire import native, openai
from freelane.wire.strict_json import BodyRefused

LOOK_S = 3.0
"""How long one engine may take to list its models, in seconds."""
_SHOWN = 5
_LONGEST = 100
_OK = 200
_REFUSED = frozenset({401, 403})


def engine_checks(
    engines: Mapping[str, Engine], environ: Mapping[str, str], clock: Clock, *, provider: str
) -> Iterator[Check]:
    """One check an engine; asks for a list and never for a text."""
    with Transport() as transport:
        for name, engine in engines.items():
            outcome, said, remedy = _look(engine, environ, Deadline(clock, LOOK_S), transport)
            table = f"[providers.{provider}.models.{name}]"
            yield Check(
                f"model {name}",
                outcome,
                f"{engine.url} {said}",
                remedy and remedy.format(table=table),
            )


def _look(
    engine: Engine, environ: Mapping[str, str], deadline: Deadline, transport: Transport
) -> tuple[Outcome, str, str | None]:
    headers = {"accept": native.CONTENT_TYPE}
    if engine.key_variable is not None:
        key = environ.get(engine.key_variable, "").strip()
        if not key:
            why = f"wants the key in {engine.key_variable}, which is not set"
            return Outcome.FAILED, why, f"export {engine.key_variable}=..."
        headers["authorization"] = f"Bearer {key}"
    call = HttpCall("GET", engine.url + openai.MODELS_PATH, headers)
    try:
        reply = transport.send(call, deadline=deadline)
    except FreelaneError:
        return Outcome.WARNING, "does not answer", "start the engine, or change url in {table}"
    if reply.status in _REFUSED:
        return Outcome.FAILED, "refuses the key", "set key_env in {table}, or another key"
    names = _names(reply) if reply.status == _OK else None
    if names is None:
        said = f"answers HTTP {reply.status}, which is no list of models"
        return Outcome.WARNING, said, "url in {table} ends in /v1 for most engines"
    if not any(engine.model in {each, each.partition(":")[0]} for each in names):
        there = ", ".join(names[:_SHOWN]) or "none"
        return Outcome.WARNING, f"has no {engine.model}; it has {there}", "change model in {table}"
    return Outcome.OK, f"answers, and has {engine.model}", None


def _names(reply: HttpReply) -> list[str] | None:
    """The models of a list; None where it is none."""
    try:
        data = native.read_object(reply.body).get("data")
    except BodyRefused:
        return None
    if not isinstance(data, list):
        return None
    rows = [row.get("id") for row in data if isinstance(row, dict)]
    return [name[:_LONGEST] for name in rows if isinstance(name, str) and name.isprintable()]
