"""Quotas drawn for people."""

from datetime import UTC, date, datetime, timedelta

import click
import pytest

from freelane.cli import bars
from freelane.model.quota import Confidence, Kind, Unit
from freelane.model.usage import QuotaRow

HOUR = 3_600_000
NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)


class Terminal:
    """A standard output that says it is a terminal, and keeps what is written."""

    def __init__(self, encoding="utf-8"):
        self.encoding = encoding
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True

    @property
    def lines(self):
        return [line.rstrip() for line in click.unstyle(self.text).splitlines()]


@pytest.fixture
def terminal(monkeypatch):
    """Become a terminal of so many columns."""

    def become(columns, encoding="utf-8"):
        shown = Terminal(encoding)
        monkeypatch.setattr("sys.stdout", shown)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        return shown

    return become


def row(id="cloud/training", **fields):  # noqa: A002 - a quota's own word
    return QuotaRow(
        **{
            "id": id,
            "title": "Training",
            "provider": "cloud",
            "emulated": False,
            "kind": Kind.ALLOWANCE,
            "meter": "cloud.training",
            "unit": Unit.MS,
            "limit": 50 * HOUR,
            "used": 25 * HOUR,
            "held": 5 * HOUR,
            "window": "calendar month, UTC",
            "resets_at": NOW + timedelta(days=8, hours=7),
            "source": "cloud.example",
            "as_of": date(2026, 11, 1),
            "confidence": Confidence.OFFICIAL,
        }
        | fields
    )


def test_a_bar_has_a_part_for_used_held_and_left(terminal):
    shown = terminal(80)
    bars.show([row()])
    bar = shown.lines[1]
    assert bar.startswith("  Training  ")
    assert (bar.count("█"), bar.count("▒"), bar.count("░")) == (20, 4, 16)
    assert bar.endswith("60 %")


def test_a_terminal_without_blocks_gets_letters(terminal):
    shown = terminal(80, encoding="ascii")
    bars.show([row()])
    assert (shown.lines[1].count("#"), shown.lines[1].count("=")) == (20, 4)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(terminal, columns):
    shown = terminal(columns)
    long = "Training on ml.m4.xlarge or ml.m5.xlarge machines of any region"
    bars.show([row(title=long), row("cloud/other", stale=True, confidence=Confidence.GUESS)])
    assert max(map(len, shown.lines)) <= columns
    for word in [*long.split(), "cloud/other;", "guess,", "date"]:
        assert word in shown.text


def test_bars_of_all_providers_stand_under_each_other(terminal):
    shown = terminal(80)
    bars.show([row(title="A"), row("b/x", provider="b", title="A longer title")])
    starts = {line.index("█") for line in shown.lines if "█" in line}
    assert len(starts) == 1


def test_a_bar_of_a_narrow_terminal_stands_under_its_title(terminal):
    shown = terminal(40)
    bars.show([row()])
    assert shown.lines[1] == "  Training"
    assert shown.lines[2].startswith("  █")


def test_what_is_not_used_yet_takes_two_lines(terminal):
    shown = terminal(80)
    bars.show([row(used=0, held=0)])
    assert len(shown.lines) == 3
    assert shown.lines[2].startswith("    50 h left; resets 24 Nov ")
    assert shown.lines[2].endswith("; official, as of 2026-11-01")


def test_the_least_use_is_seen(terminal):
    shown = terminal(80)
    bars.show([row(used=1, held=1)])
    assert (shown.lines[1].count("█"), shown.lines[1].count("▒")) == (1, 1)
    assert "1 ms used, 1 ms held, 50 of 50 h left" in shown.text


def test_more_than_the_limit_fills_the_bar_and_no_more(terminal):
    shown = terminal(80)
    bars.show([row(used=500 * HOUR, held=0)])
    assert shown.lines[1].count("█") == 40
    assert "999 %" in shown.text


@pytest.mark.parametrize(
    ("used", "colour"), [(10 * HOUR, "32"), (40 * HOUR, "33"), (50 * HOUR, "31")]
)
def test_a_bar_is_green_then_yellow_then_red(terminal, used, colour):
    shown = terminal(80)
    bars.show([row(used=used, held=0)])
    assert f"\x1b[{colour}m█" in shown.text


def test_no_color_is_honoured(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = terminal(80)
    bars.show([row()])
    assert "\x1b[3" not in shown.text


def test_money_is_told_in_dollars():
    told = bars.balance(row(unit=Unit.NANO_USD, limit=10 * 10**9, used=230_000_000, held=0))
    assert told == "$0.23 used, $9.77 of $10.00 left"


def test_what_has_no_limit_is_only_counted():
    assert bars.balance(row(limit=None, held=0)) == "25 h used, only counted"


def test_a_limit_of_zero_says_that_nothing_is_free():
    assert bars.balance(row(limit=0, used=0, held=0)) == "0 ms used, nothing of it is free"


def test_a_window_that_slides_says_so_instead_of_a_reset():
    assert bars.resets(row(resets_at=None, window="60 s, sliding"), NOW) == "60 s, sliding"
    assert bars.resets(row(resets_at=None, window="once"), NOW) == "never resets"


def test_a_reset_says_when_and_how_soon():
    assert bars.resets(row(), NOW).startswith("resets 24 Nov ")
    assert bars.resets(row(), NOW).endswith(", in 8d 7h")


def test_what_is_used_up_says_so_instead_of_a_forecast():
    full = row(used=50 * HOUR, held=0, exhausted_at=NOW)
    assert bars.forecast(full, NOW) == "all of it is used or held"


def test_a_forecast_is_told_below_its_bar(terminal):
    shown = terminal(80)
    bars.show([row(exhausted_at=datetime.now(UTC) + timedelta(days=400))])
    assert "at this rate the free hours end on " in shown.text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "official, as of 2026-11-01"),
        ({"confidence": Confidence.OBSERVED}, "observed, not official, as of 2026-11-01"),
        ({"learned": True}, "learned from a refusal, as of 2026-11-01"),
        ({"stale": True}, "official, as of 2026-11-01, may be out of date"),
        ({"as_of": None}, "official"),
        ({"limit": None}, "no limit"),
        ({"source": "[guard] budget"}, "set in [guard] budget"),
    ],
)
def test_how_well_a_limit_is_known_stands_beside_it(fields, told):
    assert bars.origin(row(**fields)) == told


@pytest.mark.parametrize("columns", [None, 80])
def test_what_hangs_on_a_key_is_one_line_that_names_it(terminal, capsys, columns):
    needs = "providers.cloud.account_plan"
    rows = [row(f"cloud/{n}", unavailable="set it", needs=needs) for n in range(3)]
    rows += [row("cloud/never", unavailable="only legacy")]
    shown = terminal(columns) if columns else None
    bars.show(rows)
    text = shown.text if shown else capsys.readouterr().out
    assert text.count(f"3 more hang on {needs}: set it") == 1
    assert "1 more is not for this account: freelane quota catalog says why" in text
    assert "cloud/never" not in text


def test_the_emulator_has_a_heading_of_its_own(terminal):
    shown = terminal(80)
    bars.show([row(), row("emulated:cloud/training", emulated=True)])
    assert shown.lines.count("cloud (emulated)") == 1


def test_in_a_pipe_there_are_plain_columns_on_one_scale(capsys):
    bars.show([row()])
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["ID", "USED", "HELD", "LEFT", "LIMIT"]
    assert line.split("  ")[0] == "cloud/training"
    assert "25 h" in line
    assert "2026-11-24T19:00Z" in line
    assert "█" not in line


@pytest.mark.parametrize("columns", [None, 80])
def test_nothing_at_all_says_so(terminal, capsys, columns):
    shown = terminal(columns) if columns else None
    bars.show([])
    assert bars.EMPTY in (shown.text if shown else capsys.readouterr().out)


def test_a_title_cannot_command_the_terminal(terminal):
    shown = terminal(80)
    bars.show([row(title="bad\x1b]0;title\x07name [bold]x[/bold]")])
    assert "badname [bold]x[/bold]" in click.unstyle(shown.text)
    assert "\x1b]0" not in shown.text
