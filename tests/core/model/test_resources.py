from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.errors import ConfigError
from freelane.model.resources import (
    Accelerator,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512", 512),
        ("512B", 512),
        ("1KiB", 1024),
        ("1kb", 1000),
        (" 8 GiB ", 8 * 2**30),
        ("1.5MiB", 3 * 2**19),
        ("2TB", 2 * 10**12),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_a_size_is_read_in_both_kinds_of_units(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GiB",
        "-1",
        "8G",
        "1e3",
        "1 2",
        "8\N{KELVIN SIGN}iB",
        "٣",
        "9" * 400,
        "8388608TiB",
        "1.B",
    ],
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 2**63 - 1))
def test_a_formatted_size_reads_back_exactly(size_bytes):
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(100 * 2**20, "100MiB"), (2**40, "1TiB"), (1000, "1000B"), (0, "0B")]
)
def test_a_size_is_written_in_its_largest_whole_unit(size_bytes, text):
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("45s", timedelta(seconds=45)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        (" 2 d ", timedelta(days=2)),
        ("0.5h", timedelta(minutes=30)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text, duration):
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "s",
        "5m s",
        "-5m",
        "1h30",
        "0s",
        "1w",
        "m5",
        "1h-30m",
        "٣s",
        "9" * 400 + "d",
        "999999999999d",
        "5M",
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(1, 10**8).map(lambda s: timedelta(seconds=s)))
def test_a_formatted_duration_reads_back(duration):
    assert parse_duration(format_duration(duration)) == duration


def test_a_duration_below_a_second_is_written_as_none():
    assert format_duration(timedelta(milliseconds=10)) == "0s"
    assert format_duration(timedelta(hours=1, minutes=30)) == "1h30m"


@pytest.mark.parametrize(
    ("text", "accelerator"),
    [
        ("none", Accelerator()),
        ("auto", Accelerator(auto=True)),
        ("2", Accelerator(2)),
        ("T4:1", Accelerator(1, "T4")),
        ("A100-80GB:8", Accelerator(8, "A100-80GB")),
    ],
)
def test_an_accelerator_reads_and_writes_the_same_text(text, accelerator):
    assert Accelerator.parse(text) == accelerator
    assert str(accelerator) == text


@pytest.mark.parametrize("text", ["", "0", "T4", "T4:0", "-1", ":1", "T4:", "100", "None", "1:T4"])
def test_what_is_no_accelerator_is_refused(text):
    with pytest.raises(ConfigError, match="use none, auto, a count"):
        Accelerator.parse(text)
