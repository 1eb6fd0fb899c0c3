"""Amounts of one row on one scale, prices, and a forecast in words."""

from datetime import datetime

import pytest

from freelane.cli.amounts import forecast_text, hourly_text, ordinal, price_text, scale_of
from freelane.model.quota import Kind, Unit

HOUR = 3_600_000
NANO = 10**9


@pytest.mark.parametrize(
    ("unit", "limit", "amount", "text"),
    [
        (Unit.MS, 50 * HOUR, 45_000_000, "12.5 h"),
        (Unit.MS, 50 * HOUR, 0, "0 h"),
        (Unit.MS, 50 * HOUR, 1000, "1 s"),
        (Unit.MS, 50 * HOUR, 1, "1 ms"),
        (Unit.MS, 150_000_000, 150_000_000, "41.7 h"),
        (Unit.VCPU_MS, 180_000_000, 1_234_000, "1,234 vCPU-s"),
        (Unit.BYTES, 5 * NANO, 1_500_000_000, "1.5 GB"),
        (Unit.BYTES, 5 * NANO, 1_500, "1.5 kB"),
        (Unit.BYTE_HOURS, 5 * NANO * 730, NANO * 73, "0.1 GB-months"),
        (Unit.REQUESTS, 2_000_000, 1_234_567, "1,234,567 requests"),
        (Unit.COUNT, 10, 3, "3"),
        (Unit.NANO_USD, 10 * NANO, 230_000_000, "$0.23"),
    ],
)
def test_an_amount_is_told_on_the_scale_of_its_limit(unit, limit, amount, text):
    assert scale_of(unit, limit).text(amount) == text


def test_beside_its_limit_an_amount_needs_no_name_but_where_its_scale_is_another():
    hours = scale_of(Unit.MS, 50 * HOUR)
    assert (hours.short(2 * HOUR), hours.short(1000)) == ("2", "1 s")
    assert scale_of(Unit.NANO_USD, NANO).short(NANO) == "$1.00"


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (230_000_000, "$0.23"),
        (115_000_000, "$0.115"),
        (1_234_560_000, "$1.2346"),
        (37_688_123_456, "$37.69"),
        (5 * NANO, "$5.00"),
        (75_000, "$0.000075"),
        (0, "$0.00"),
    ],
)
def test_a_price_keeps_a_part_of_a_cent(nano_usd, text):
    assert price_text(nano_usd) == text


def test_a_price_that_is_unknown_is_no_number():
    assert hourly_text(None) is None
    assert hourly_text(115_000_000) == "$0.115/h"


@pytest.mark.parametrize(
    ("day", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"),
     (21, "21st"), (22, "22nd"), (23, "23rd"), (30, "30th"), (31, "31st")],
)  # fmt: skip
def test_days_of_a_month_are_counted_in_words(day, text):
    assert ordinal(day) == text


NOW = datetime(2026, 11, 16, 12).astimezone()


@pytest.mark.parametrize(
    ("kind", "unit", "ends", "text"),
    [
        (Kind.ALLOWANCE, Unit.REQUESTS, (2026, 11, 23, 9), "the free requests end on the 23rd"),
        (Kind.ALLOWANCE, Unit.MS, (2026, 11, 16, 14, 5), "the free hours end today at 14:05"),
        (Kind.RATE, Unit.REQUESTS, (2026, 12, 3), "the requests end on 3 December"),
        (Kind.CREDIT, Unit.NANO_USD, (2027, 1, 3), "the credit ends on 3 January 2027"),
        (Kind.BUDGET, Unit.NANO_USD, (2026, 11, 30), "the budget ends on the 30th"),
    ],
)
def test_a_forecast_is_a_sentence(kind, unit, ends, text):
    told = forecast_text(kind, unit, datetime(*ends).astimezone(), NOW)
    assert told == f"at this rate {text}"


def test_every_unit_has_a_scale_and_a_noun():
    for unit in Unit:
        assert scale_of(unit, 10**15).text(10**15)
        assert forecast_text(Kind.ALLOWANCE, unit, NOW, NOW)
