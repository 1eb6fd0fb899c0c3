"""Text for people, and values for programs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import click
import pytest
from rich.console import Console

from freelane.cli import render
from freelane.cli.document import plain
from freelane.cli.output import Output

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Terminal:
    """A standard output that says it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Become a terminal; in the test itself, for pytest takes stdout back before it."""

    def become():
        shown = Terminal()
        monkeypatch.setattr("sys.stdout", shown)
        monkeypatch.setenv("TERM", "xterm-256color")
        return shown

    return become


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**20, "5.0 MiB"), (2**41, "2.0 TiB")],
)
def test_sizes_are_read_at_a_glance(size_bytes, text):
    assert render.size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.08, "80 ms"), (4.2, "4.2 s"), (185, "3m 05s"), (7800, "2h 10m"), (273600, "3d 4h")],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert render.seconds_text(seconds) == text


def test_a_moment_is_told_from_now():
    assert render.ago_text(NOW - timedelta(seconds=5), NOW) == "5.0 s ago"
    assert render.ago_text(NOW + timedelta(hours=2), NOW) == "in 2h 0m"
    assert render.ago_text(None) == "-"


def test_a_table_in_a_pipe_is_plain_columns(capsys):
    render.table(["id", "state"], [["a-1", "READY"], ["longer", None]], empty="none")
    assert capsys.readouterr().out == "ID      STATE\na-1     READY\nlonger  -\n"


def test_an_empty_table_says_what_to_do(capsys):
    render.table(["id"], [], empty="no job; start one: freelane train")
    assert capsys.readouterr().out == "no job; start one: freelane train\n"


def test_a_cell_keeps_to_its_line():
    assert render.cell("two\nlines\tand a tab") == "two lines and a tab"


def test_a_table_at_a_terminal_is_drawn_and_coloured(terminal):
    shown = terminal()
    render.table(["id", "state"], [["a-1", "READY"]], empty="none")
    assert "\x1b[32m" in shown.text
    assert "a-1" in shown.text


def test_no_color_is_honoured_at_a_terminal(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    render.table(["id", "state"], [["a-1", "READY"]], empty="none")
    render.card("job", {"state": "READY"})
    render.check("failed", "no", None)
    assert "\x1b[3" not in shown.text


def test_a_narrow_terminal_folds_and_loses_nothing(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    words = [f"word{number:02d}" for number in range(20)]
    render.table(["id", "what"], [["a", " ".join(words)]], empty="none")
    assert max(map(len, click.unstyle(shown.text).splitlines())) <= 30
    for word in words:
        assert word in shown.text


def test_an_id_stays_whole_beside_a_long_text(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    job, reason = "digits-6160ea86", "the file that you wanted " * 5
    render.table(["id", "state", "reason"], [[job, "FAILED", reason]], empty="none")
    assert job in shown.text
    assert "reason" in click.unstyle(shown.text).splitlines()[0]


def test_rows_that_do_not_fit_are_cards(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    headers = ["", "name", "state", "address", "reason"]
    url, reason = "http://127.0.0.1:43065", "it has not answered for a very long time"
    render.table(headers, [["*", "digits", "READY", url, reason]], empty="none")
    lines = [line.rstrip() for line in click.unstyle(shown.text).splitlines()]
    assert lines[:3] == ["* digits", "  state    READY", f"  address  {url}"]
    assert max(map(len, lines)) <= 40


def test_a_column_of_nothing_is_left_out_at_a_terminal(terminal):
    shown = terminal()
    render.table(["id", "reason"], [["a", None], ["b", None]], empty="none")
    assert "reason" not in shown.text


def test_a_long_result_that_fails_on_the_way_prints_nothing(capsys):
    def lines():
        yield "one"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Output(as_json=True).long_result("logs", {"job": "a"}, "lines", lines())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("lines", [[], ["one"], ["one", 'a "second"']])
def test_a_long_result_is_the_document_that_a_short_one_is(capsys, lines):
    Output(as_json=True).long_result("logs", {"job": "a"}, "lines", lines)
    long = capsys.readouterr().out
    Output(as_json=True).result({"logs": {"job": "a", "lines": lines}}, lambda: None)
    assert long == capsys.readouterr().out


def test_square_brackets_are_text_and_no_markup(terminal):
    shown = terminal()
    render.table(["id"], [["[providers.local] [/bold]"]], empty="none")
    assert "[providers.local] [/bold]" in shown.text


def test_a_card_leaves_out_what_is_not_there(capsys):
    render.card("job a", {"state": "READY", "reason": None, "metrics": {"accuracy": 0.97}})
    assert capsys.readouterr().out == "job a\n  state    READY\n  metrics  accuracy=0.97\n"


def test_rich_reads_a_streamed_line_as_text(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with Output().progress("working") as progress:
        progress.line("[red]not markup[/red] \x1b[1mbold\x1b[0m")
    assert "[red]not markup[/red]" in shown.text
    assert isinstance(progress.drawn, Console)


def test_the_document_is_printed_once_and_whole(capsys):
    Output(as_json=True).result({"job": {"id": "a"}}, people=lambda: pytest.fail("no people"))
    assert capsys.readouterr().out == '{"schema_version": 1, "job": {"id": "a"}}\n'


def test_words_for_people_stay_off_stdout_beside_a_document(capsys):
    output = Output(as_json=True)
    output.note("a note")
    output.warning("a warning")
    with output.progress("waiting") as progress:
        progress.line("a line")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a note\nwarning: a warning\na line\n"


def test_quiet_keeps_warnings_alone(capsys):
    output = Output(quiet=True)
    output.note("a note")
    with output.progress("waiting") as progress:
        progress.line("a line")
    output.warning("a warning")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: a warning\n")


def test_values_become_what_json_knows():
    class Colour(StrEnum):
        RED = "red"

    @dataclass
    class Thing:
        colour: Colour
        at: datetime
        took: timedelta
        where: Path
        loss: float
        names: frozenset[str]

    thing = Thing(Colour.RED, NOW, timedelta(minutes=1), Path("/a"), float("nan"), frozenset("ba"))
    assert plain({"thing": thing}) == {
        "thing": {
            "colour": "red",
            "at": "2026-01-01T12:00:00+00:00",
            "took": 60.0,
            "where": "/a",
            "loss": None,
            "names": ["a", "b"],
        }
    }
