"""The table of verbs, the help, and what a mistake in the line comes to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from freelane import __version__
from freelane.cli.main import VERBS, check_platform, cli, find_verb
from freelane.errors import ConfigError

NAMES = [name for verbs in VERBS.values() for name in verbs]
FORBIDDEN = [
    "alembic",
    "boto3",
    "freelane.client",
    "freelane.config",
    "freelane.contract",
    "freelane.errors",
    "freelane.registry",
    "freelane_local",
    "google.api_core",
    "httpx",
    "importlib.metadata",
    "pluggy",
    "pydantic",
    "rich",
    "sqlalchemy",
    "tomlkit",
]


@pytest.mark.parametrize("name", NAMES)
def test_each_verb_of_the_table_is_a_command_with_the_same_first_line(name):
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    first_line = (command.help or "").split("\n\n")[0].replace("\n", " ")
    assert first_line == find_verb(name)[1]


def test_the_groups_stand_in_the_order_of_the_work(freelane):
    ran = freelane("--help")
    assert ran.code == 0
    places = [
        ran.out.index(f"{group}:") for group in ("Start", "Train", "Serve", "Spend", "Extend")
    ]
    assert places == sorted(places)
    for name in NAMES:
        assert f"\n  {name} " in ran.out


def test_help_loads_nothing_but_click():
    code = (
        "import sys; from freelane.cli.main import main; main(['--help']);"
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
    assert "Start:" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_takes_the_shared_options(name):
    command = cli.get_command(click.Context(cli), name)
    if isinstance(command, click.Group):
        command = next(iter(command.commands.values()))
    taken = {option for param in command.params for option in param.opts}
    assert {"--provider", "--config", "--json", "--quiet", "--emulated"} <= taken


@pytest.mark.parametrize("name", ["train", "deploy"])
def test_what_spends_can_be_asked_first_and_detached(name):
    command = cli.get_command(click.Context(cli), name)
    taken = {option for param in command.params for option in param.opts}
    assert {"--yes", "--dry-run", "--detach"} <= taken


@pytest.mark.parametrize("name", NAMES)
def test_the_page_on_the_command_line_names_every_verb(name):
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    assert re.search(rf"`{name}( [a-z]+)?`", page)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_verb_explains_itself(freelane, flag):
    ran = freelane("train", flag)
    assert ran.code == 0
    assert "As every verb:" in ran.out


@pytest.mark.parametrize("line", [["--help"], ["train", "--help"], ["import", "--help"]])
def test_help_fits_a_narrow_terminal(freelane, monkeypatch, line):
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, freelane(*line).out.splitlines())) <= 40


def test_no_verb_at_all_shows_the_help(freelane):
    ran = freelane()
    assert (ran.code, ran.err) == (0, "")
    assert "Start:" in ran.out


def test_the_version_is_the_packages(freelane):
    assert freelane("--version").out == f"freelane {__version__}\n"


def test_a_misspelled_verb_names_the_nearest(freelane):
    ran = freelane("trian")
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: there is no verb 'trian'; did you mean train?"
    assert ran.out == ""


def test_an_option_before_the_verb_is_told_where_it_goes(freelane):
    ran = freelane("--json", "jobs")
    assert (ran.code, ran.err) == (2, "")
    assert "freelane VERB --json" in ran.document["error"]["message"]


def test_a_misspelled_option_names_the_nearest(freelane):
    ran = freelane("jobs", "--jsn")
    assert ran.err.splitlines()[0] == "error: no such option '--jsn'; did you mean --json?"


def test_an_option_without_its_value_names_its_verb(freelane):
    ran = freelane("prices", "refresh", "sagemaker", "--region")
    assert ran.code == 2
    assert ran.err.splitlines()[1] == "hint: freelane prices refresh --help"


def test_a_number_that_is_none_is_refused_in_plain_words(freelane):
    ran = freelane("jobs", "--limit", "x")
    assert ran.code == 2
    assert "'x' is not a whole number" in ran.err


def test_config_alone_shows_its_help(freelane):
    ran = freelane("config")
    assert (ran.code, ran.err) == (0, "")
    assert "show" in ran.out


def test_a_verb_like_no_other_names_none(freelane):
    ran = freelane("xyzzy")
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: there is no verb 'xyzzy'"


def test_a_misspelled_option_is_told_in_the_same_two_lines(freelane):
    ran = freelane("train", "--detahc")
    assert ran.code == 2
    assert ran.err.startswith("error: no such option '--detahc'")
    assert "hint: freelane train --help" in ran.err


def test_a_line_that_does_not_parse_still_answers_in_json_when_asked(freelane):
    ran = freelane("predict", "--json")
    assert ran.code == 2
    assert ran.err == ""
    assert ran.document["error"]["type"] == "UsageError"


def test_json_after_two_dashes_is_a_name_and_no_option(freelane):
    ran = freelane("predict", "--", "--json")
    assert ran.code == 2
    assert ran.out == ""


def test_native_windows_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match="native Windows") as refused:
        check_platform("win32")
    assert refused.value.exit_code == 2
    assert "wsl" in refused.value.hint


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_other_platforms_are_welcome(platform):
    assert check_platform(platform) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(freelane, shell):
    ran = freelane("--completion", shell)
    assert ran.code == 0
    assert "_FREELANE_COMPLETE" in ran.out


def test_a_half_typed_verb_is_completed(command):
    line = {"COMP_WORDS": "freelane en", "COMP_CWORD": "1", "_FREELANE_COMPLETE": "bash_complete"}
    assert command(env=line).out.strip() == "plain,endpoints"


def test_a_closed_pipe_ends_quietly(command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "freelane", "--help"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_full_disk_under_stdout_is_told(command):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "freelane", "--help"],
            stdout=full,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 7
    assert done.stderr.startswith("error: No space left on device")
    assert "Traceback" not in done.stderr
