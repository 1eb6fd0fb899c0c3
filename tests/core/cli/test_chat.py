"""`chat`: one message, and a conversation at a terminal of its own."""

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECITES = """\
import time

def load(model_dir): ...

def generate(model, messages, parameters):
    said = messages[-1]["content"]
    if said == "raise":
        raise ValueError("no words today")
    yield f"{len(messages)} {messages[0]['content']} | "
    for number in range(600 if said == "long" else 2):
        if said == "long":
            time.sleep(0.05)
        yield f"{said} {number}, "

def predict(model, instances): return instances
"""


class Terminal:
    """A command line at a terminal."""

    def __init__(self, *args):
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "freelane", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
        os.close(theirs)
        self._seen = ""

    def until(self, text, seconds=20):
        """What was shown up to and with `text`."""
        end = time.monotonic() + seconds
        while text not in self._seen:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} was never shown: {self._seen!r}"
            self._seen += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
        shown, _, self._seen = self._seen.partition(text)
        return shown + text

    def say(self, text, *, end="\n"):
        os.write(self._ours, (text + end).encode())

    def interrupt(self):
        self._process.send_signal(signal.SIGINT)

    def leave(self):
        """Press Ctrl-D at the next prompt; the exit code."""
        self.until("> ")
        self.say("\x04", end="")
        return self.ended()

    def ended(self):
        """The exit code, once it has left by itself."""
        return self._process.wait(20)

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def talk():
    """Start a conversation; it is over after the test."""
    started = []

    def start(*args):
        started.append(Terminal("chat", *args))
        started[-1].until("/help lists what else can be said\n> ")
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def served(project, freelane):
    """An endpoint that writes text."""
    Path("predict.py").write_text(RECITES)
    Path("model.txt").write_text("2")
    imported = freelane("import", "model.txt", "--framework", "sklearn", "--yes", "--quiet")
    assert imported.code == 0, imported.err
    deployed = freelane("deploy", "--quiet")
    assert deployed.code == 0, deployed.err
    return project


def test_one_message_is_answered_on_stdout(served, command):
    ran = command("chat", "tiny", "--message", "hi")
    assert (ran.code, ran.out) == (0, "1 hi | hi 0, hi 1, \n")
    assert " tokens in " in ran.err
    quiet = command("chat", "-m", "hi", "--system", "Be brief.", "-q")
    assert (quiet.out, quiet.err) == ("2 Be brief. | hi 0, hi 1, \n", "")


def test_a_message_comes_from_standard_input_too(served, command):
    assert command("chat", "-q", input="hi\n").out == "1 hi | hi 0, hi 1, \n"
    assert command("chat", "-q", "-m", "-", input="hi\n").out == "1 hi | hi 0, hi 1, \n"


def test_the_answer_as_a_document(served, freelane):
    ran = freelane("chat", "tiny", "--message", "hi", "--json")
    told = ran.document["generation"]
    assert (ran.code, told["text"], told["finish"]) == (0, "1 hi | hi 0, hi 1, ", "stop")
    assert (told["provider"], told["endpoint"]) == ("local", "tiny")


def test_an_answer_ends_where_it_is_told_to(served, freelane):
    ran = freelane("chat", "-m", "hi", "--max-tokens", "1")
    assert (ran.code, len(ran.out) < len("1 hi | hi 0, hi 1, ")) == (0, True)
    assert "warning: the answer was cut off at its longest: --max-tokens" in ran.err


def test_a_model_that_raises_exits_1(served, freelane):
    for line in (["--quiet"], ["--json"]):
        ran = freelane("chat", "-m", "raise", *line)
        assert ran.code == 1
        assert "no words today" in ran.out + ran.err


def test_an_answer_that_takes_too_long_is_told_with_the_time(served, freelane):
    ran = freelane("chat", "-m", "long", "--timeout", "300ms")
    assert ran.code == 5
    assert "endpoint local/tiny has not written it all within 0.3 s" in ran.err


def test_an_endpoint_whose_model_writes_no_text_exits_2(project, freelane):
    Path("model.txt").write_text("2")
    freelane("import", "model.txt", "--framework", "sklearn", "--yes", "--quiet")
    assert freelane("deploy", "--quiet").code == 0
    ran = freelane("chat", "-m", "hi")
    assert ran.code == 2
    assert "generate" in ran.err


def test_a_conversation_is_told_whole_each_time(served, talk):
    terminal = talk("--system", "Be brief.")
    terminal.say("one")
    terminal.until("2 Be brief. | one 0, one 1, \n")
    terminal.until("> ")
    terminal.say("two")
    terminal.until("4 Be brief. | two 0, two 1, \n")
    terminal.until("> ")
    terminal.say("/clear")
    terminal.until("a new conversation\n> ")
    terminal.say("three")
    terminal.until("2 Be brief. | three 0, three 1, \n")
    assert terminal.leave() == 0


def test_ctrl_c_stops_the_answer_and_not_the_conversation(served, talk):
    terminal = talk()
    terminal.say("long")
    terminal.until("long 1, ")
    terminal.interrupt()
    assert "long 599" not in terminal.until("stopped\n> ")
    terminal.say("hi")
    terminal.until("3 long | hi 0, hi 1, \n")
    assert terminal.leave() == 0


def test_a_model_that_raises_leaves_the_conversation_as_it_was(served, talk):
    terminal = talk()
    terminal.say("raise")
    terminal.until("error: endpoint local/tiny: ")
    terminal.until("> ")
    terminal.say("hi")
    terminal.until("1 hi | hi 0, hi 1, \n")
    assert terminal.leave() == 0


def test_lines_with_a_slash_are_for_the_program(served, talk):
    terminal = talk()
    terminal.say("/help")
    terminal.until("/clear   begin a new conversation")
    terminal.say("/sing")
    terminal.until("there is no /sing; /help lists what there is\n")
    terminal.say("//hi")
    terminal.until("1 /hi | ")
    terminal.until("> ")
    terminal.say("a\\")
    terminal.until("... ")
    terminal.say("b")
    terminal.until("| a\nb 0, ")
    terminal.until("> ")
    terminal.say("/exit")
    terminal.until("/exit")
    assert terminal.ended() == 0


def test_what_was_said_is_remembered_for_its_user_alone(served, talk, home):
    terminal = talk()
    terminal.say("/exit")
    terminal.until("/exit")
    assert terminal.ended() == 0
    history = home / ".local/share/freelane/chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "/exit" in history.read_text()


def test_where_several_endpoints_answer_one_is_named(served, freelane):
    assert freelane("deploy", "--name", "other", "--quiet").code == 0
    ran = freelane("chat", "-m", "hi")
    assert ran.code == 2
    assert "local/other, local/tiny; name one: freelane chat NAME" in ran.err


def test_where_no_endpoint_answers_there_is_nobody_to_talk_with(project, freelane):
    ran = freelane("chat", "-m", "hi")
    assert ran.code == 6
    assert "start one: freelane deploy" in ran.err


@pytest.mark.parametrize("message", ["", " \n"])
def test_an_empty_message_is_refused(project, freelane, message):
    assert freelane("chat", f"--message={message}").code == 2


def test_a_message_that_is_too_long_is_refused(project, freelane):
    ran = freelane("chat", "-m", "x" * 1_000_001)
    assert (ran.code, "longer than 1,000,000 characters" in ran.err) == (2, True)


def test_standard_input_that_is_no_text_is_refused(served):
    ran = subprocess.run(
        [sys.executable, "-m", "freelane", "chat"], input=b"\xff", capture_output=True
    )
    assert (ran.returncode, ran.stdout) == (2, b"")


def test_what_a_model_writes_cannot_command_the_terminal(served, talk):
    terminal = talk()
    terminal.say("\x16\x1b]0;title\x16\x07")  # as typed: Ctrl-V before each
    terminal.until("1 ")
    assert "\x1b]0;" not in terminal.until("1, ")
    assert terminal.leave() == 0


def test_a_conversation_has_no_document(project):
    terminal = Terminal("chat", "--json")
    try:
        told = json.loads(terminal.until("}\n").strip())
        assert told["error"]["message"] == "--json takes one message: --message TEXT"
        assert terminal.ended() == 2
    finally:
        terminal.close()
