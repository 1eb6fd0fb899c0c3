import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.errors import ConfigError
from freelane.model.amount import parse_amount, parse_usd
from freelane.model.quota import Unit


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("50h", Unit.MS, 180_000_000),
        ("250 h", Unit.MS, 900_000_000),
        ("150000s", Unit.MS, 150_000_000),
        ("150,000 s", Unit.MS, 150_000_000),
        ("2500min", Unit.MS, 150_000_000),
        ("0.5s", Unit.MS, 500),
        ("2M", Unit.REQUESTS, 2_000_000),
        ("20,000", Unit.REQUESTS, 20_000),
        ("1.5M", Unit.TOKENS, 1_500_000),
        ("10M", Unit.COUNT, 10_000_000),
        ("180000 vCPU-s", Unit.VCPU_MS, 180_000_000),
        ("360000 GiB-s", Unit.GIB_MS, 360_000_000),
        ("400,000 GB-s", Unit.GIB_MS, 400_000_000),
        ("5GB", Unit.BYTES, 5_000_000_000),
        ("5GiB", Unit.BYTES, 5 * 2**30),
        ("5GB-month", Unit.BYTE_HOURS, 5 * 10**9 * 730),
        ("1 GiB-h", Unit.BYTE_HOURS, 2**30),
        ("300 USD", Unit.NANO_USD, 300 * 10**9),
        ("74.40 USD", Unit.NANO_USD, 74_400_000_000),
        ("0", Unit.REQUESTS, 0),
    ],
)
def test_an_amount_is_read_exactly(text, unit, amount):
    assert parse_amount(text, unit) == amount


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("50", Unit.MS),  # of what?
        ("50h", Unit.REQUESTS),
        ("50H", Unit.MS),
        ("5GB", Unit.BYTE_HOURS),
        ("5GB-month", Unit.BYTES),
        ("1.5", Unit.REQUESTS),
        ("0.0001s", Unit.MS),
        ("1,50", Unit.REQUESTS),
        ("-1", Unit.REQUESTS),
        ("1e3", Unit.REQUESTS),
        ("", Unit.REQUESTS),
        ("inf", Unit.REQUESTS),
        ("\u0663", Unit.REQUESTS),
        ("999999999999999999h", Unit.MS),
        ("10 EUR", Unit.NANO_USD),
    ],
)
def test_what_is_no_amount_of_the_unit_is_refused(text, unit):
    with pytest.raises(ConfigError, match="is not an amount of"):
        parse_amount(text, unit)


@given(st.integers(0, 10**9), st.integers(0, 10**9 - 1))
def test_no_cent_of_a_cent_is_lost(dollars, nano):
    assert parse_usd(f"{dollars}.{nano:09} USD") == dollars * 10**9 + nano
