"""How an error is told."""

import errno
import json
import os

import click
import pytest

from freelane.cli.report import describe, error_document, report, wants_json
from freelane.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    JobFailed,
    OutcomeUnknown,
    ProviderUnavailable,
    QuotaExceeded,
    ResourceConflict,
    StateError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (ProviderUnavailable("x", extra="vertex"), 2),
        (JobFailed("x", job="j"), 1),
        (AuthenticationFailed("x", provider="p"), 3),
        (DeadlineExceeded("x"), 5),
        (ResourceConflict("x", provider="p"), 6),
        (StateError("x"), 7),
        (OutcomeUnknown("x", operation="o"), 8),
        (click.UsageError("x"), 2),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_each_error_answers_its_code(error, code, capsys):
    assert report(error, []) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


def test_an_error_is_one_line_and_its_hint_another(capsys):
    report(ConfigError("no freelane.toml here", hint="freelane init DIR"), [])
    assert capsys.readouterr().err == "error: no freelane.toml here\nhint: freelane init DIR\n"


def test_the_last_lines_of_a_script_are_set_below_the_error(capsys):
    report(JobFailed("job a failed: Traceback\nValueError: no", job="a"), [])
    assert capsys.readouterr().err == "error: job a failed: Traceback\n  ValueError: no\n"


def test_the_document_carries_what_the_error_carries(capsys):
    report(OutcomeUnknown("gone?", operation="abc"), ["train", "--json"])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "schema_version": 1,
        "error": {
            "type": "OutcomeUnknown",
            "message": "gone?",
            "exit_code": 8,
            "hint": "freelane cleanup",
            "operation": "abc",
        },
    }


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (None, "freelane quota explain r1"),
        ("freelane quota", "freelane quota explain r1"),
        ("wait", "wait; freelane quota explain r1"),
    ],
)
def test_a_refusal_says_how_it_is_explained(hint, told):
    error = QuotaExceeded("no", quota_id="q", limit=1, used=1, requested=1, hint=hint)
    assert describe(error).hint == hint
    error.refusal = "r1"
    assert describe(error).hint == told


def test_no_field_of_an_error_hides_its_code():
    error = ConfigError("x")
    error.exit_code = 99
    assert error_document(describe(error))["error"]["exit_code"] == 99
    error.type = "other"
    assert error_document(describe(error))["error"]["type"] == "ConfigError"


def test_an_unexpected_error_shows_no_traceback_but_the_way_to_it(capsys):
    report(ZeroDivisionError("division\nby zero"), [])
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "error: unexpected ZeroDivisionError: division by zero"
    assert "FREELANE_TRACEBACK=1" in err
    assert "Traceback" not in err


def test_the_traceback_shows_when_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("FREELANE_TRACEBACK", "1")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        report(error, [])
    assert "Traceback" in capsys.readouterr().err


def test_secrets_are_not_told(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary_0123456789")
    report(
        StateError("postgresql://me:hunter22@db/x refused; sent Bearer abcdefghijkl and "
                   "hf_canary_0123456789"), ["--json"]
    )  # fmt: skip
    out = capsys.readouterr().out
    for secret in ("hunter22", "abcdefghijkl", "hf_canary"):
        assert secret not in out
    assert "postgresql://***@db/x" in out


def test_a_path_to_a_secret_is_told(monkeypatch):
    monkeypatch.setenv("TOKEN_FILE", "/run/secrets/token")
    document = error_document(describe(ConfigError("cannot read /run/secrets/token")))
    assert document["error"]["message"] == "cannot read /run/secrets/token"


def test_no_colour_goes_into_a_pipe(capsys):
    report(ConfigError("x", hint="y"), [])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "wanted"),
    [(["jobs", "--json"], True), (["jobs"], False), (["predict", "--", "--json"], False)],
)
def test_json_is_wanted_where_the_option_stands(args, wanted):
    assert wants_json(args) is wanted


def test_a_broken_pipe_is_nobodys_error(capfd):
    kept = os.dup(1)
    try:
        assert report(BrokenPipeError(), []) == 141
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert capfd.readouterr().err == ""
