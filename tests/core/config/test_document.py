import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.config.document import Document, read
from freelane.config.layers import leaves
from freelane.errors import ConfigError


@pytest.fixture
def toml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "freelane.toml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = [\n", "freelane.toml:2: not TOML: "),
        (b"a = 1\nb = = 2\nc = 3\n", "freelane.toml:2: not TOML: Invalid value"),
        (b'a = "\xff"\n', "freelane.toml:1: not UTF-8 text"),
        (b"a = 1\na = 2\n", "freelane.toml:2: not TOML: Cannot overwrite a value"),
        (b"a = " + b"[" * 100_000, "freelane.toml: nested too deeply"),
        (b"#" * (2**20 + 1), "freelane.toml: larger than 1 MiB"),
        (b"a = " + b"9" * 5_000, "freelane.toml:1: not TOML: "),
    ],
)
def test_a_broken_file_is_named_with_its_line(toml, content, message):
    toml.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(toml)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_files_place_is_a_clear_error(toml):
    toml.mkdir()
    with pytest.raises(ConfigError, match=r"freelane.toml: cannot be read: Is a directory"):
        read(toml)


def test_a_file_below_a_file_is_not_there(toml):
    toml.write_text("")
    assert read(toml / "config.toml") is None


def test_a_byte_order_mark_is_no_part_of_the_text(toml):
    toml.write_bytes(b'\xef\xbb\xbfname = "x"\r\n')
    assert read(toml).values == {"name": "x"}


def test_a_table_of_ours_that_is_none_is_refused(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool]\nfreelane = 3\n")
    with pytest.raises(ConfigError, match="should be a table"):
        read(file)


def test_lines_are_found_through_values_over_several_lines(toml):
    toml.write_text('a = 1\nb = [\n  "x",\n  "y",\n]\nc = """\nz = 1\n"""\n[t]\nz = 2\n')
    document = read(toml)
    lines = {key: document.line(key) for key in [("a",), ("b",), ("b", 1), ("c",), ("t", "z")]}
    assert lines == {("a",): 1, ("b",): 5, ("b", 1): 5, ("c",): 8, ("t", "z"): 10}


@pytest.mark.parametrize("path", [("q",), ("a", "b"), ("b", 7), ("a", 0)])
def test_a_path_that_the_file_lacks_has_no_line(toml, path):
    toml.write_text("a = 1\nb = [1]\n")
    assert read(toml).line(path) is None


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.one_of(
            st.integers(-5, 5),
            st.lists(st.integers(0, 3), max_size=3),
            st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3), max_size=3),
        ),
        max_size=4,
    ),
    st.integers(0, 2),
)
def test_a_line_is_the_smallest_prefix_that_parses_and_contains_the_path(
    tmp_path_factory, values, gap
):
    tables = {k: v for k, v in values.items() if isinstance(v, dict)}
    lines = [
        f"{k} = [\n" + "".join(f"{i},\n" for i in v) + "]" if isinstance(v, list) else f"{k} = {v}"
        for k, v in values.items()
        if k not in tables
    ]
    for key, table in tables.items():
        lines.append(f"[{key}]" + "\n" * gap)
        lines.extend(f"{inner} = {v}" for inner, v in table.items())
    text = "\n".join(lines)
    split = text.split("\n")
    document = Document(
        tmp_path_factory.getbasetemp() / "f.toml", tomllib.loads(text), tuple(split)
    )
    for path, _ in leaves(values):
        smallest = None
        for count in range(1, len(split) + 1):
            try:
                found = dict(leaves(tomllib.loads("\n".join(split[:count]))))
            except tomllib.TOMLDecodeError:
                continue
            # An empty table is a leaf only until it gets its first key.
            if any(other[: len(path)] == path for other in found):
                smallest = count
                break
        assert document.line(path) == smallest
