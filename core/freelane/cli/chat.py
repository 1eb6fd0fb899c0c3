"""The verb `chat`: one message, or a conversation at the terminal."""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import click

from freelane.cli.complete import endpoint_addresses
from freelane.cli.conversation import Conversation
from freelane.cli.options import Session, Verb
from freelane.cli.report import describe
from freelane.cli.terminal import is_terminal
from freelane.errors import ConfigError, FreelaneError, ResourceNotFound
from freelane.model.lifecycle import EndpointState
from freelane.model.resources import parse_duration

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.texts import Drawn

MOST_REMEMBERED = 1000
"""Lines of the history that the arrow keys go through."""
LONGEST_MESSAGE = 1_000_000
"""Characters of one message, at most."""
_ANSWERING = frozenset({EndpointState.READY, EndpointState.UPDATING})
_HELP = """\
/clear   begin a new conversation
/exit    leave; Ctrl-D does too
/help    these lines
A line that ends in \\ goes on in the next; // begins a message with a slash.
Ctrl-C stops the answer."""


@click.command("chat", cls=Verb)
@click.argument("address", metavar="[NAME]", required=False, shell_complete=endpoint_addresses)
@click.option("--message", "-m", metavar="TEXT", help="Ask this one thing; - is standard input.")
@click.option("--system", metavar="TEXT", help="What the model is told before all messages.")
@click.option("--temperature", type=float, metavar="NUMBER", help="0 says the likeliest words.")
@click.option("--top-p", type=float, metavar="NUMBER", help="Draw from the likeliest words alone.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="COUNT", help="End an answer after so many."
)
@click.option("--seed", type=int, metavar="NUMBER", help="Draw the same words again.")
@click.option(
    "--timeout", metavar="TIME", default="10m", show_default=True, help="Wait this long an answer."
)
def chat(  # noqa: PLR0913 - one for each option
    session: Session,
    *,
    address: str | None,
    message: str | None,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    seed: int | None,
    timeout: str,
) -> None:
    """Talk with an endpoint that writes text.

    Without a message it asks for them at the terminal, and the model is told all that was said.
    NAME may carry its provider: local/chat; the one endpoint that lives needs no name.
    """
    timeout_s = parse_duration(timeout).total_seconds()
    drawn: Drawn = {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    if message is None and not is_terminal(sys.stdin):
        message = "-"
    if message is None and session.output.as_json:
        raise click.UsageError("--json takes one message: --message TEXT")
    said = _read(message)
    with session.client() as client:
        chosen = address or _only(client)
        if said is not None and session.output.as_json:
            told = client.endpoints.generate(
                chosen, said, system=system, timeout_s=timeout_s, **drawn
            )
            session.output.result({"generation": told.to_json()}, lambda: None)
            return
        talk = Conversation(client, chosen, session.output, drawn, timeout_s, system)
        if said is not None:
            talk.ask(said)
        else:
            converse(talk)


def converse(talk: Conversation) -> None:
    """Ask for messages until there are no more."""
    talk.output.note(f"talking with {talk.address}; /help lists what else can be said")
    with _remembered():
        while True:
            try:
                line = _next_line()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                talk.output.note("/exit leaves")
                continue
            if line.startswith("/") and not line.startswith("//"):
                if not _obey(line, talk):
                    return
            elif line.strip():
                _answer(talk, line.removeprefix("/") if line.startswith("//") else line)


def _answer(talk: Conversation, line: str) -> None:
    try:
        talk.ask(line)
    except KeyboardInterrupt:
        talk.output.note("stopped")
    except FreelaneError as error:
        failure = describe(error)
        hint = f"; hint: {failure.hint}" if failure.hint else ""
        talk.output.error(f"{failure.message}{hint}")


def _obey(line: str, talk: Conversation) -> bool:
    """Do what a line that begins with a slash asks; False: leave."""
    word = line.split(maxsplit=1)[0]
    if word in {"/exit", "/quit"}:
        return False
    if word == "/clear":
        talk.clear()
        click.echo("a new conversation", err=True)
    elif word == "/help":
        click.echo(_HELP, err=True)
    else:
        click.echo(f"there is no {word}; /help lists what there is", err=True)
    return True


def _next_line() -> str:
    lines = [input("> ")]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input("... "))
    return "\n".join(lines)


def _read(message: str | None) -> str | None:
    """The one message, where there is one.

    Raises:
        ConfigError: It is empty, too long, or no text.
    """
    if message == "-":
        try:
            message = sys.stdin.read(LONGEST_MESSAGE + 1).rstrip("\n")
        except UnicodeDecodeError as error:
            raise ConfigError("standard input is not UTF-8 text") from error
    if message is None:
        return None
    if len(message) > LONGEST_MESSAGE:
        raise ConfigError(f"the message is longer than {LONGEST_MESSAGE:,} characters; shorten it")
    if not message.strip():
        raise ConfigError("the message is empty; give one: --message TEXT")
    return message


def _only(client: "Client") -> str:
    """The address of the one endpoint that answers.

    Raises:
        ResourceNotFound: There is none.
        ConfigError: There are several.
    """
    live = [e.address for e in client.endpoints.list() if e.state in _ANSWERING]
    if not live:
        raise ResourceNotFound(
            "no endpoint is there to talk with; start one: freelane deploy",
            provider=client.config.provider_for(None),
            hint="freelane endpoints",
        )
    if len(live) > 1:
        raise ConfigError(
            f"several endpoints answer: {', '.join(sorted(live))}; name one: freelane chat NAME"
        )
    return live[0]


@contextlib.contextmanager
def _remembered() -> Iterator[None]:
    """Have the arrow keys go through what was said before, in earlier conversations too."""
    keys = _line_editing()
    if keys is None:
        yield
        return
    import platformdirs  # noqa: PLC0415 - only a conversation has a history

    file = platformdirs.user_data_path("freelane") / "chat_history"
    with contextlib.suppress(OSError):
        keys.read_history_file(file)
    keys.set_history_length(MOST_REMEMBERED)
    try:
        yield
    finally:
        mask = os.umask(0o077)  # what was said is nobody else's
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            keys.write_history_file(file)
        except OSError:
            pass  # a full disk costs the history, not the conversation
        finally:
            os.umask(mask)


def _line_editing() -> ModuleType | None:
    """Python's readline, where it was built with one."""
    try:
        import readline  # noqa: PLC0415 - it takes over the terminal
    except ImportError:
        return None
    return readline
