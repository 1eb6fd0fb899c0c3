"""A conversation with an endpoint: what was said so far, and one answer after the other."""

import re
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.output import Output
from freelane.cli.terminal import is_terminal
from freelane.model.generation import Finish, Message, Role, TokenUsage

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.texts import Drawn

# A model may have read a stranger's text: what moves the cursor, names the window or turns the
# writing round is not shown. Each character by itself, since a piece may end in the middle.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(slots=True)
class Conversation:
    """What is said with one endpoint; the model is told all of it each time."""

    client: "Client"
    address: str
    output: Output
    drawn: "Drawn"
    timeout_s: float
    system: str | None = None
    said: list[Message] = field(default_factory=list)

    def ask(self, text: str) -> None:
        """Say `text` and print the answer as it is written; one that fails was never asked.

        Raises:
            KeyboardInterrupt: The answer was stopped; what there is of it counts as said.
            FreelaneError: There is no answer, or no more of it.
        """
        self.said.append(Message(Role.USER, text))
        answer = _Answer(is_shown=is_terminal(sys.stdout))
        try:
            pieces = self.client.endpoints.stream(
                self.address,
                list(self.said),
                system=self.system,
                timeout_s=self.timeout_s,
                **self.drawn,
            )
            for piece in pieces:
                answer.add(piece.text)
                if piece.finish is not None:
                    answer.finish, answer.usage = piece.finish, piece.usage
        except KeyboardInterrupt:
            answer.close()
            self._remember(answer.text)
            raise
        except BaseException:
            answer.close()
            self.said.pop()
            raise
        answer.close()
        self._remember(answer.text)
        self._tell(answer)

    def clear(self) -> None:
        """Begin anew."""
        self.said.clear()

    def _remember(self, text: str) -> None:
        if text:
            self.said.append(Message(Role.ASSISTANT, text))
        else:
            self.said.pop()  # nothing was answered: two messages of one side in a row mean another

    def _tell(self, answer: "_Answer") -> None:
        took = render.seconds_text(answer.took_s)
        written = "" if answer.usage is None else f"{answer.usage.output} tokens "
        self.output.note(f"{written}in {took}")
        if answer.finish is Finish.LENGTH:
            self.output.warning("the answer was cut off at its longest: --max-tokens")


class _Answer:
    """Prints a text while it comes."""

    def __init__(self, *, is_shown: bool) -> None:
        """`is_shown`: to a person's terminal."""
        self._is_shown = is_shown
        self._begun = time.perf_counter()
        self._parts: list[str] = []
        self._last = "\n"
        self.took_s = 0.0
        self.finish = Finish.STOP
        self.usage: TokenUsage | None = None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, text: str) -> None:
        self._parts.append(text)
        printed = _COMMANDS.sub("", text) if self._is_shown else text
        if printed:
            click.echo(printed, nl=False)
            self._last = printed[-1]

    def close(self) -> None:
        """The prompt, or the shell's, stands on a line of its own."""
        self.took_s = time.perf_counter() - self._begun
        if self._last != "\n":
            click.echo()
            self._last = "\n"
