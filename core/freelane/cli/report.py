"""What a person or a program is told when a verb does not get done."""

import errno
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from freelane.cli.document import SCHEMA_VERSION, plain
from freelane.cli.redact import redact
from freelane.errors import FreelaneError, QuotaExceeded

INTERRUPTED = 130
BROKEN_PIPE = 141
USAGE = 2
STATE = 7
UNEXPECTED = 1
_NO_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is told: one for people and programs alike."""

    type: str
    message: str
    exit_code: int
    hint: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


def describe(error: BaseException) -> Failure:
    """What to tell about any error at all."""
    kind = type(error).__name__
    if isinstance(error, FreelaneError):
        return Failure(kind, error.message, error.exit_code, _hint(error), error.fields())
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "freelane"
        return Failure("UsageError", _one_sentence(error), USAGE, f"{path} --help")
    if isinstance(error, click.ClickException):
        return Failure("UsageError", _one_sentence(error), USAGE)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Failure("Interrupted", "interrupted", INTERRUPTED)
    if isinstance(error, OSError) and error.errno in _NO_STORAGE:
        where = f": {error.filename}" if error.filename else ""
        return Failure("StateError", f"{os.strerror(error.errno or 0)}{where}", STATE)
    message = " ".join(str(error).split())
    return Failure(
        "UnexpectedError",
        f"unexpected {kind}: {message}" if message else f"unexpected {kind}",
        UNEXPECTED,
        "this is a fault of Freelane; FREELANE_TRACEBACK=1 shows where it happened",
    )


def _hint(error: FreelaneError) -> str | None:
    """What helps; a refusal is recorded, and can be explained."""
    if isinstance(error, QuotaExceeded) and error.refusal is not None:
        why = f"freelane quota explain {error.refusal}"
        return why if error.hint in {None, "freelane quota"} else f"{error.hint}; {why}"
    return error.hint


def _one_sentence(error: click.ClickException) -> str:
    """Click's message in the style of ours: no capital, no full stop."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.NoSuchOption):
        message = f"no such option {error.option_name!r}"
        near = error.possibilities or ()
        message += f"; did you mean {' or '.join(sorted(near))}?" if near else ""
    if isinstance(error, click.BadParameter):
        message = message.replace("is not a valid integer range", "is not a whole number")
    second = message[1:2]
    return message if second.isupper() else message[:1].lower() + message[1:]


def report(error: BaseException, args: Sequence[str]) -> int:
    """Tell `error`, on stdout as the one document if `args` ask for JSON, and answer its code."""
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return BROKEN_PIPE
    failure = describe(error)
    if os.environ.get("FREELANE_TRACEBACK"):
        click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
    try:
        if wants_json(args):
            click.echo(json.dumps(error_document(failure)))
        else:
            _print(failure)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # nobody is left to be told, or what holds stdout is full
        _silence_stdout()
    return failure.exit_code


def wants_json(args: Sequence[str]) -> bool:
    """Whether `--json` stands among the options, even of a line that does not parse."""
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options


def error_document(failure: Failure) -> dict[str, object]:
    """The document of `docs/json/error.schema.json`."""
    told: dict[str, object] = {
        "type": failure.type,
        "message": redact(failure.message),
        "exit_code": failure.exit_code,
        "hint": redact(failure.hint) if failure.hint else None,
    }
    told |= {
        key: redact(value) if isinstance(value, str) else plain(value)
        for key, value in failure.fields.items()
        if key not in told
    }
    return {"schema_version": SCHEMA_VERSION, "error": told}


def _print(failure: Failure) -> None:
    coloured = sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def label(text: str, colour: str) -> str:
        return click.style(text, fg=colour, bold=True) if coloured else text

    first, *rest = redact(failure.message).splitlines() or [""]
    click.echo(f"{label('error:', 'red')} {first}", err=True)
    for line in rest:
        click.echo(f"  {line}", err=True)
    if failure.hint:
        click.echo(f"{label('hint:', 'cyan')} {redact(failure.hint)}", err=True)


def _silence_stdout() -> None:
    """Let the interpreter's own flush at exit go nowhere instead of failing once more."""
    if sys.stdout is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(nowhere)
