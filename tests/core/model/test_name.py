import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.errors import ConfigError
from freelane.model.name import (
    LONGEST_NAME,
    LONGEST_RESOURCE_NAME,
    check_name,
    is_beginning,
    parse_address,
    resource_name,
)

names = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,30}", fullmatch=True).map(
    lambda n: n[:40].strip("-")
)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)


@pytest.mark.parametrize("name", ["a", "0", "a-b-c", "digits2", "x" * 40])
def test_a_name_is_returned_as_it_is(name):
    assert check_name(name, what="job") == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a_b", "-a", "a-", "a--b", "a\n", "a b", "../x", "a/b", "é", "x" * 41, "a\0"],
)
def test_what_is_no_name_is_refused_in_one_short_line(name):
    with pytest.raises(ConfigError) as caught:
        check_name(name, what="job")
    assert str(caught.value).startswith("job ")
    assert "\n" not in str(caught.value)


def test_an_endless_name_is_not_repeated_in_full():
    with pytest.raises(ConfigError) as caught:
        check_name("x" * 10_000, what="job")
    assert len(str(caught.value)) < 200


@given(names, names, ids)
def test_a_resource_name_fits_every_provider_and_names_its_operation(project, name, operation):
    resource = resource_name(project, name, operation)
    assert len(resource) <= LONGEST_RESOURCE_NAME
    assert re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", resource)
    assert resource.startswith("fl-")
    assert resource.endswith("-" + operation[:8])


@given(names, names, ids)
def test_a_resource_name_is_whole_where_there_is_room(project, name, operation):
    whole = f"fl-{project}-{name}-{operation[:8]}"
    if len(whole) <= LONGEST_RESOURCE_NAME:
        assert resource_name(project, name, operation) == whole


def test_two_long_names_give_way_alike():
    longest = "p" * LONGEST_NAME
    assert resource_name(longest, "n" * 40, "0" * 32) == f"fl-{'p' * 25}-{'n' * 25}-00000000"
    assert resource_name(longest, "name", "0" * 32) == f"fl-{longest}-name-00000000"
    assert resource_name("p" * 20, "n" * 40, "0" * 32) == f"fl-{'p' * 20}-{'n' * 30}-00000000"


@pytest.mark.parametrize(
    ("address", "parts"),
    [("digits", (None, "digits")), ("sagemaker/digits", ("sagemaker", "digits"))],
)
def test_an_address_is_a_name_with_or_without_a_provider(address, parts):
    assert parse_address(address) == parts


@pytest.mark.parametrize("address", ["", "/", "/a", "a/", "a/b/c", "A/b", "a/B", "../a"])
def test_an_address_of_other_parts_is_refused(address):
    with pytest.raises(ConfigError):
        parse_address(address)


@pytest.mark.parametrize("text", ["d", "digits", "digits-", "digits-3f9a1c2b"])
def test_an_id_may_begin_with_any_part_of_one(text):
    assert is_beginning(text)


@pytest.mark.parametrize("text", ["", "-", "D", "di gits", "é", "digits\n", "%"])
def test_nothing_and_what_no_id_holds_begin_none(text):
    assert not is_beginning(text)
