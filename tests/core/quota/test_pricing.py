import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from freelane.errors import ConfigError
from freelane.model.quota import Price, Unit
from freelane.quota.catalogue.pricing import PriceBook, Rate, price_of, prices, stale
from freelane.quota.catalogue.token_prices import Listed, find

DAY = date(2026, 11, 22)
ROW = """
[[price]]
provider = "acme"
meter = "acme.training"
unit = "ms"
attributes = { instance_type = "m1", region = "us" }
usd = "0.23"
per = "hour"
source = "https://acme.example"
as_of = 2026-11-22
"""
US = {"instance_type": "m1", "region": "us"}


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "prices"
    made.mkdir()
    return made


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str) -> str:
        (tmp_path / "acme_prices").mkdir()
        (tmp_path / "acme_prices/a.toml").write_text(text)
        return "acme_prices"

    yield make
    sys.modules.pop("acme_prices", None)


def rate(usd: str, **attributes: str) -> Rate:
    price = price_of(usd, "hour", Unit.MS, "https://acme.example", DAY)
    return Rate(
        provider="acme", meter="acme.training", attributes=attributes, unit=Unit.MS, price=price
    )


def dollars(price: Price | None) -> float | None:
    """Of an hour."""
    return None if price is None else price.of(3_600_000) / 10**9


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_row_becomes_a_price(folder):
    (folder / "a.toml").write_text(ROW)
    book = prices(None, "acme", folder)
    assert book.find("acme.training", US) == Price(
        nano_usd=230_000_000, per=3_600_000, source="https://acme.example", as_of=DAY
    )
    assert book.find("acme.training", {**US, "spot": "no"}) is not None


@pytest.mark.parametrize(
    ("meter", "attributes"),
    [
        ("acme.training", {}),
        ("acme.training", {"instance_type": "m1"}),
        ("acme.training", {**US, "region": "eu"}),
        ("acme.endpoint", US),
    ],
)
def test_what_no_row_has_is_unknown_and_never_0(folder, meter, attributes):
    (folder / "a.toml").write_text(ROW)
    book = prices(None, "acme", folder)
    assert book.find(meter, attributes) is None
    assert book.why_unknown(meter, attributes).startswith(f"no price of {meter}")


def test_the_row_that_says_most_wins():
    book = PriceBook([rate("9"), rate("1", instance_type="m1"), rate("2", **US), rate("3", x="y")])
    assert dollars(book.find("acme.training", US)) == 2
    assert dollars(book.find("acme.training", {"instance_type": "m1"})) == 1
    assert dollars(book.find("acme.training", {})) == 9


def test_of_two_that_say_as_much_the_dearer_wins():
    book = PriceBook([rate("1", region="us"), rate("5", instance_type="m1")])
    assert dollars(book.find("acme.training", US)) == 5
    book = PriceBook([rate("5", region="us"), rate("1", instance_type="m1")])
    assert dollars(book.find("acme.training", US)) == 5


@pytest.mark.parametrize(
    ("usd", "per", "unit", "nano_usd", "units"),
    [
        ("0.23", "hour", Unit.MS, 230_000_000, 3_600_000),
        ("0.40", "1M", Unit.REQUESTS, 400_000_000, 1_000_000),
        ("0.000024", "vCPU-s", Unit.VCPU_MS, 24_000, 1000),
        ("0.0000025", "1 GiB-s", Unit.GIB_MS, 2_500, 1000),
        ("0.0000166667", "GB-s", Unit.GIB_MS, 166_667, 10_000),
        ("0.023", "GB-month", Unit.BYTE_HOURS, 23_000_000, 730 * 10**9),
        ("3", 7, Unit.COUNT, 3_000_000_000, 7),
    ],
)
def test_dollars_become_whole_numbers_and_lose_nothing(usd, per, unit, nano_usd, units):
    price = price_of(usd, per, unit, "", DAY)
    assert (price.nano_usd, price.per) == (nano_usd, units)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"0.23"', '"0"', "usd: '0' is no price: write dollars as \"0.23\"; free is a quota"),
        ('"0.23"', '"0.00"', "usd: '0.00' is no price"),
        ('"0.23"', '"-1"', "usd: '-1' is no price"),
        ('"0.23"', '"NaN"', "usd: 'NaN' is no price"),
        ('"0.23"', '"Infinity"', "usd: 'Infinity' is no price"),
        ('"0.23"', '"1e-20"', "usd: '1e-20' is no price"),
        ('"0.23"', '"free"', "usd: 'free' is no price"),
        ('"0.23"', "0.23", "usd should be a text"),
        ('usd = "0.23"', "", "usd is missing"),
        ('"hour"', '"fortnight"', "per: '1 fortnight' is not an amount of ms"),
        ('"hour"', "0", "per: should be more than nothing"),
        ("as_of = 2026-11-22", "", "as_of is missing: every price has a date"),
        ("region =", "Region =", "attributes.Region "),
        ("unit", "unti", "has no key 'unti'; did you mean 'unit'?"),
        ('"ms"', '"hours"', "unit should be 'requests', 'tokens', 'ms'"),
    ],
)
def test_a_row_that_does_not_hold_names_file_row_and_key(folder, old, new, said):
    (folder / "mine.toml").write_text(replaced(ROW, old, new))
    with pytest.raises(ConfigError) as caught:
        prices(None, "acme", folder)
    start = f"{folder / 'mine.toml'}: price 'acme.training': "
    assert str(caught.value).startswith(start + said)


def test_a_wrong_key_inside_a_row_is_named(folder):
    row = replaced(ROW, 'usd = "0.23"', 'genai = { provder = "google", side = "input" }')
    (folder / "mine.toml").write_text(row)
    with pytest.raises(ConfigError, match=r"price 'acme.training': has no key 'genai\.provder'"):
        prices(None, "acme", folder)


def test_a_row_is_there_once_in_a_file(folder):
    (folder / "mine.toml").write_text(ROW + ROW)
    with pytest.raises(ConfigError, match="is there twice"):
        prices(None, "acme", folder)


def test_a_meter_has_one_unit(folder):
    (folder / "mine.toml").write_text(
        ROW + replaced(replaced(replaced(ROW, '"us"', '"eu"'), '"hour"', "1"), '"ms"', '"count"')
    )
    with pytest.raises(ConfigError, match="unit is ms in another row"):
        prices(None, "acme", folder)


def test_no_price_ships_without_a_source(package):
    with pytest.raises(ConfigError, match=r"acme_prices/a\.toml: .*: source is missing"):
        prices(package(replaced(ROW, 'source = "https://acme.example"', "")), "acme")


def test_the_users_price_replaces_ours_and_adds_to_them(package, folder):
    (folder / "mine.toml").write_text(
        replaced(ROW, "0.23", "0.10") + replaced(replaced(ROW, '"us"', '"eu"'), "0.23", "0.30")
    )
    book = prices(package(ROW), "acme", folder)
    assert dollars(book.find("acme.training", US)) == 0.10
    assert dollars(book.find("acme.training", {**US, "region": "eu"})) == 0.30
    assert len(book.rates) == 2


def test_what_the_user_wrote_wins_over_what_was_refreshed(folder):
    (folder / "a-mine.toml").write_text(replaced(ROW, "0.23", "0.10"))
    (folder / "refreshed-acme-us.toml").write_text(ROW)
    assert dollars(prices(None, "acme", folder).find("acme.training", US)) == 0.10


def test_the_rows_of_other_plugins_are_none_of_ours(folder):
    (folder / "a.toml").write_text(
        replaced(ROW, 'provider = "acme"', 'provider = "cloud"\nused_by = ["acme", "b"]')
    )
    assert len(prices(None, "acme", folder).rates) == 1
    assert len(prices(None, "b", folder).rates) == 1
    assert not prices(None, "cloud", folder).rates


def test_nothing_is_known_without_package_and_folder(tmp_path):
    assert prices(None, "acme", tmp_path / "nowhere").find("acme.training", US) is None


def test_a_price_is_stale_after_90_days_or_without_a_source():
    price = price_of("1", "hour", Unit.MS, "https://acme.example", DAY)
    assert stale(price, date(2027, 2, 20)) is None
    assert stale(price, date(2027, 2, 21)) == "as of 2026-11-22, 91 days ago"
    assert stale(price_of("1", "hour", Unit.MS, "", DAY), DAY) == "no source"


def test_the_price_of_a_token_is_that_of_its_dearest_tier():
    book = prices("freelane_vertex.prices", "gemini")
    price = book.find("gemini.output_tokens", {"model": "gemini-2.5-pro"})
    assert price.of(1_000_000) == 15 * 10**9  # 10 USD up to 200,000 tokens of input
    assert price.source.startswith("https://ai.google.dev/")
    assert price.as_of >= date(2026, 1, 1)
    price = book.find("gemini.input_tokens", {"model": "gemini-2.5-pro"})
    assert price.of(1_000_000) == 2_500_000_000


@pytest.mark.parametrize("attributes", [{}, {"model": "gemini-99-ultra"}])
def test_a_token_of_a_model_that_nobody_lists_has_no_price(attributes):
    book = prices("freelane_vertex.prices", "gemini")
    assert book.find("gemini.input_tokens", attributes) is None
    assert "no price of gemini.input_tokens" in book.why_unknown("gemini.input_tokens", attributes)


def test_a_token_that_costs_a_fraction_of_a_billionth_loses_nothing():
    price = find(Listed("cohere", "input"), "command-r7b")  # $0.0375 for a million
    assert (price.nano_usd, price.per) == (375, 10)


def test_a_token_that_is_listed_at_0_has_no_price():
    assert find(Listed("google", "output"), "gemini-embedding-001") is None


def test_without_the_extra_a_token_price_is_unknown_and_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)  # as if it were not there
    find.cache_clear()
    book = prices("freelane_vertex.prices", "gemini")
    use = "gemini.input_tokens", {"model": "gemini-2.5-pro"}
    assert book.find(*use) is None
    assert book.why_unknown(*use) == (
        "token prices come with an extra: pip install 'freelane[gemini]'"
    )
    find.cache_clear()


def test_a_book_loads_no_token_prices_before_one_is_asked_for():
    code = (
        "import sys; from freelane.quota.catalogue.pricing import prices;"
        "b = prices('freelane_vertex.prices', 'gemini'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"genai_prices", "httpx2", "sqlalchemy"} & set(done.stdout.split())
