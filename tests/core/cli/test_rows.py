"""Reading `--data`."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from freelane.cli.rows import LARGEST_BYTES, read_instances
from freelane.errors import ConfigError


def written(body):
    Path("rows.json").write_bytes(body if isinstance(body, bytes) else body.encode())
    return "rows.json"


def test_a_list_is_read_as_it_stands():
    assert read_instances(written('[[1, 2.5], {"a": null}, "x"]')) == [[1, 2.5], {"a": None}, "x"]


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"[[1]]")))
    assert read_instances("-") == [[1]]


def test_a_byte_order_mark_is_no_error():
    assert read_instances(written(b"\xef\xbb\xbf[1]")) == [1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"a": 1}', "holds an object"),
        ('"text"', "holds a text"),
        ("3", "holds a number"),
        ("null", "holds null"),
        ("[]", "is an empty list"),
        ("", "not JSON"),
        ("[1,\n2,]", "rows.json:2: not JSON"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("[1e999]", "not JSON compliant"),
        ('["\\ud800"]', "not UTF-8"),
        (b"[\xff]", "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_list_of_rows_is_told(body, told):
    with pytest.raises(ConfigError) as refused:
        read_instances(written(body))
    assert told in refused.value.message
    assert refused.value.message.startswith("--data rows.json")


def test_a_number_of_5000_digits_is_refused():
    with pytest.raises(ConfigError):
        read_instances(written("[" + "9" * 5000 + "]"))


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match=r"--data gone\.json: No such file"):
        read_instances("gone.json")


def test_a_folder_is_no_file():
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match="--data folder: Is a directory"):
        read_instances("folder")


def test_more_than_an_endpoint_takes_is_refused_before_it_is_read():
    with Path("rows.json").open("wb") as file:
        file.truncate(LARGEST_BYTES * 100)
    with pytest.raises(ConfigError, match="larger than 10 MB"):
        read_instances("rows.json")


def test_predict_tells_it_and_asks_no_endpoint(freelane):
    ran = freelane("predict", "digits", "--data", written("{}"), "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["type"] == "ConfigError"
