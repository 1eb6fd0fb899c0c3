import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from freelane.errors import ConfigError
from freelane.model.quota import (
    Billing,
    Confidence,
    Eligibility,
    Fact,
    Kind,
    Overage,
    Period,
    Plan,
    Quota,
    Unit,
    Window,
    WindowKind,
)
from freelane.quota.catalogue.catalog import catalogue, load, overrides, stale

ROW = """
[[quota]]
id = "training"
provider = "acme"
title = "Acme training"
kind = "allowance"
meter = "acme.training"
unit = "ms"
limit = "50h"
window = { kind = "calendar", period = "month" }
"""
SOURCED = ROW + 'source = "https://acme.example"\nas_of = 2026-11-22\nconfidence = "official"\n'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package of data files and answer its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str = "acme_tier", **files: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / f"{file}.toml").write_text(text)
        return name

    yield make
    for name in [name for name in sys.modules if name.startswith("acme_tier")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path) -> Path:
    """The user's folder of rows; it is there and empty."""
    made = tmp_path / "free_tier"
    made.mkdir()
    return made


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_row_becomes_a_quota(folder):
    (folder / "a.toml").write_text("""
        [[quota]]
        id = "credits"
        provider = "acme"
        title = "Acme credit"
        kind = "credit"
        meter = "*"
        unit = "nano_usd"
        limit = "74.40 USD"
        window = { kind = "anniversary", period = "month", tz = "Asia/Tokyo", anchor = "account_opened", skew_s = 5 }
        scope = "billing account"
        per = ["model"]
        match = { region = ["a", "b"] }
        eligibility = { plan = ["free", "paid"], opened_from = 2025-07-15, opened_before = 2026-07-15, billing = "linked", since = "first_used", days = 90 }
        overage = "refuses"
        safety_margin = "0.40 USD"
        source = "https://acme.example"
        as_of = 2026-11-22
        confidence = "observed"
        note = "once"
    """)  # noqa: E501 - an inline table has one line
    (quota,) = overrides(folder, "acme")
    assert quota == Quota(
        id="credits",
        provider="acme",
        title="Acme credit",
        kind=Kind.CREDIT,
        meter="*",
        unit=Unit.NANO_USD,
        limit=74_400_000_000,
        window=Window(kind=WindowKind.ANNIVERSARY, period=Period.MONTH, tz="Asia/Tokyo", skew_s=5),
        anchor=Fact.OPENED,
        scope="billing account",
        per=("model",),
        match={"region": frozenset({"a", "b"})},
        eligibility=Eligibility(
            plans=frozenset({Plan.FREE, Plan.PAID}),
            opened_from=date(2025, 7, 15),
            opened_before=date(2026, 7, 15),
            billing=Billing.LINKED,
            since=Fact.FIRST_USED,
            days=90,
        ),
        overage=Overage.REFUSES,
        safety_margin=400_000_000,
        source="https://acme.example",
        as_of=date(2026, 11, 22),
        confidence=Confidence.OBSERVED,
        note="once",
    )


def test_what_a_row_leaves_out_asks_nothing_and_is_a_guess(folder):
    (folder / "a.toml").write_text(replaced(ROW, '"50h"', "7"))
    (quota,) = overrides(folder, "acme")
    assert quota.limit == 7
    assert quota.eligibility == Eligibility()
    assert quota.confidence is Confidence.GUESS
    assert quota.window == Window(kind=WindowKind.CALENDAR, period=Period.MONTH, tz="UTC")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"50h"', '"50x"', "quota 'training': limit: '50x' is not an amount of ms: write it like"),
        ('"50h"', "1.5", "quota 'training': limit should be a whole number or a text"),
        ('"50h"', "-1", "quota 'training': limit should be 0 or more"),
        ('limit = "50h"', "", "quota 'training': limit is missing"),
        ('id = "training"', "", "quota number 1: id is missing"),
        ('id = "training"', 'id = "a@b"', "quota 'a@b': id "),
        ('id = "training"', 'id = "A/b"', "quota 'A/b': id "),
        ("title", "titel", "quota 'training': has no key 'titel'; did you mean 'title'?"),
        ("period", "perod", "quota 'training': has no key 'window.perod'; did you mean 'period'?"),
        ('"allowance"', '"alowance"', "quota 'training': kind should be 'allowance', 'rate'"),
        ('"allowance"', '"budget"', "quota 'training': kind budget is the user's, in [guard]"),
        ('"allowance"', '"credit"', "quota 'training': unit of a credit is nano_usd"),
        ('"acme.training"', '"*"', "quota 'training': meter '*' is a credit's alone"),
        ('"Acme training"', '"a\\u001b[31m"', "quota 'training': title should be one line of"),
        ('"month"', '"minute"', "quota 'training': window.period of kind calendar should be day"),
        ('"calendar"', '"sliding"', "quota 'training': window.period of kind sliding should be"),
        ('"calendar"', '"lifetime"', "quota 'training': window.period of kind lifetime should be"),
        ('"calendar"', '"anniversary"', "quota 'training': window.anchor should be account_opened"),
        ('"month" }', '"month", anchor = "first_used" }', "quota 'training': window.anchor should"),
        ('"month" }', '"month", tz = "Mars/Base" }', "quota 'training': window.tz: 'Mars/Base'"),
        ('"month" }', '"month", tz = "../etc" }', "quota 'training': window.tz: '../etc' is no"),
        ('"month" }', '"month", skew_s = true }', "quota 'training': window.skew_s should be a"),
    ],
)
def test_a_row_that_does_not_hold_names_file_row_and_key(folder, old, new, said):
    file = folder / "mine.toml"
    file.write_text(replaced(ROW, old, new))
    with pytest.raises(ConfigError) as caught:
        overrides(folder, "acme")
    assert str(caught.value).startswith(f"{file}: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('safety_margin = "51h"', "safety_margin is more than the limit"),
        ('safety_margin = "1"', "safety_margin: '1' is not an amount of ms"),
        ("eligibility = { months = 2 }", "eligibility.since is missing: months and days are"),
        ('eligibility = { since = "billing", months = 2 }', "eligibility.since should be account"),
        (
            'eligibility = { since = "first_used", months = 2, days = 3 }',
            "eligibility.months and eligibility.days exclude each other",
        ),
        ('eligibility = { since = "first_used", months = 0 }', "eligibility.months should be"),
        ('eligibility = { plan = ["gold"] }', "eligibility.plan.0 should be 'legacy', 'free'"),
        ('as_of = "2026-11-22"', "as_of "),
        ("match = { region = 3 }", "match.region "),
    ],
)
def test_parts_that_do_not_go_together_are_refused(folder, line, said):
    (folder / "mine.toml").write_text(ROW + line + "\n")
    with pytest.raises(ConfigError, match=r"mine.toml: quota 'training': ") as caught:
        overrides(folder, "acme")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[quota]", "not TOML"),
        ("[[qouta]]", "has 'qouta'; it holds rows [[quota]] and no more"),
        ("quota = 3", "quota should be rows: write [[quota]]"),
        ("quota = [3]", "quota should be rows: write [[quota]]"),
    ],
)
def test_a_file_that_is_no_table_of_rows_is_refused(folder, text, said):
    (folder / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.toml: ") as caught:
        overrides(folder, "acme")
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(folder):
    (folder / "mine.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(ConfigError, match=r"mine\.toml: not UTF-8 text"):
        overrides(folder, "acme")
    (folder / "mine.toml").write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        overrides(folder, "acme")
    (folder / "mine.toml").unlink()
    (folder / "mine.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        overrides(folder, "acme")
    with pytest.raises(ConfigError, match="cannot be read"):
        overrides(folder / ("a" * 300), "acme")


@pytest.mark.parametrize("key", ["source", "as_of", "confidence"])
def test_no_number_ships_without_saying_where_it_is_from(package, key):
    lines = [line for line in SOURCED.splitlines() if not line.startswith(key)]
    name = package(aws="\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        load(name, "acme")
    assert str(caught.value) == (
        f"acme_tier/aws.toml: quota 'training': {key} is missing: a number without it does not ship"
    )


def test_a_package_is_read_file_by_file_and_row_by_row(package):
    other = replaced(SOURCED, '"training"', '"serving"')
    name = package(b=SOURCED, a=other)
    assert [quota.id for quota in load(name, "acme")] == ["serving", "training"]


def test_a_row_is_there_once(package, folder):
    name = package(a=SOURCED, b=SOURCED)
    with pytest.raises(ConfigError, match=r"acme_tier/b\.toml: quota 'training': is there twice"):
        load(name, "acme")
    (folder / "a.toml").write_text(ROW + ROW)
    with pytest.raises(ConfigError, match=r"a\.toml: quota 'training': is there twice"):
        overrides(folder, "acme")


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"there is no package acme_tier\.nowhere to read"):
        load("acme_tier.nowhere", "acme")


def test_a_plugin_reads_its_own_rows_and_those_it_draws_on(package):
    shared = replaced(SOURCED, 'provider = "acme"', 'provider = "cloud"\nused_by = ["acme", "b"]')
    other = replaced(SOURCED, '"acme"', '"other"')
    name = package(a=SOURCED, b=shared, c=other)
    assert [quota.provider for quota in load(name, "acme")] == ["acme", "cloud"]
    assert [quota.provider for quota in load(name, "b")] == ["cloud"]
    assert load(name, "cloud") == ()


def test_the_users_row_replaces_ours_where_it_stood_and_a_new_one_is_added(package, folder):
    serving = replaced(SOURCED, '"training"', '"serving"')
    name = package(a=SOURCED + serving)
    (folder / "a.toml").write_text(
        replaced(ROW, '"50h"', '"10h"')
        + replaced(ROW, '"training"', '"extra"')
        + replaced(ROW, '"acme"', '"other"')
    )
    rows = catalogue(name, "acme", folder)
    assert [(row.id, row.limit // 3_600_000) for row in rows] == [
        ("training", 10),
        ("serving", 50),
        ("extra", 50),
    ]


def test_the_users_row_of_a_shared_one_need_not_say_again_who_draws_on_it(package, folder):
    shared = replaced(SOURCED, 'provider = "acme"', 'provider = "cloud"\nused_by = ["acme"]')
    name = package(a=shared)
    (folder / "a.toml").write_text(replaced(replaced(ROW, '"acme"', '"cloud"'), '"50h"', "1"))
    assert [row.limit for row in catalogue(name, "acme", folder)] == [1]


def test_a_provider_without_a_package_or_a_user_without_a_folder_has_nothing(tmp_path):
    assert catalogue(None, "acme", tmp_path / "nowhere") == ()
    assert catalogue(None, "acme") == ()


def test_a_number_is_stale_without_source_or_date_and_after_90_days(package, folder):
    (quota,) = load(package(a=SOURCED), "acme")
    assert stale(quota, date(2026, 11, 22)) is None
    assert stale(quota, date(2027, 2, 20)) is None
    assert stale(quota, date(2027, 2, 21)) == "as of 2026-11-22, 91 days ago"
    (folder / "a.toml").write_text(ROW)
    assert stale(*overrides(folder, "acme"), date(2026, 11, 22)) == "no source"
    (folder / "a.toml").write_text(ROW + 'source = "x"\n')
    assert stale(*overrides(folder, "acme"), date(2026, 11, 22)) == "no date"


def test_reading_a_catalogue_loads_no_provider_and_nothing_heavy():
    code = (
        "import sys; from freelane.quota.catalogue.catalog import load;"
        "assert load('freelane_vertex.free_tier', 'gemini'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"sqlalchemy", "rich", "click", "httpcore", "freelane_vertex.provider", "tomlkit"}
    assert not heavy & set(done.stdout.split())
