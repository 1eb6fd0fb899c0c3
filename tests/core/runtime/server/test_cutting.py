import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.model.generation import Finish
from freelane.runtime.server.routes.cutting import Cutter, rough_count


def cut(pieces, **asked):
    cutter = Cutter(**asked)
    told = []
    for piece in pieces:
        told.append(cutter.feed(piece))
        if cutter.finish is not None:
            return told, cutter
    told.append(cutter.rest())
    return told, cutter


def test_a_text_of_which_nothing_is_asked_is_told_as_it_comes():
    told, cutter = cut(["a ", "b", "", " c"])
    assert told == ["a ", "b", "", " c", ""]
    assert cutter.finish is None
    assert cutter.tokens == 3


def test_a_text_ends_before_its_stop_sequence():
    told, cutter = cut(["one. ", "two", "END", " three"], stop=["END"])
    assert "".join(told) == "one. two"
    assert cutter.finish is Finish.STOP


def test_only_what_may_begin_a_stop_sequence_is_held_back():
    cutter = Cutter(stop=["<end>"])
    assert cutter.feed("abc<e") == "abc"
    assert cutter.feed("x<en") == "<ex"
    assert cutter.feed("d>tail") == ""
    assert cutter.finish is Finish.STOP


def test_what_was_held_back_in_vain_comes_with_the_end():
    told, cutter = cut(["abc<e"], stop=["<end>"])
    assert told == ["abc", "<e"]
    assert cutter.finish is None


@given(
    text=st.text("abc", max_size=30),
    stop=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    sizes=st.lists(st.integers(1, 5), max_size=30),
)
def test_where_a_text_stops_does_not_depend_on_its_pieces(text, stop, sizes):
    pieces, rest = [], text
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    told, cutter = cut([*pieces, rest], stop=stop)
    whole, other = cut(list(text), stop=stop)
    assert "".join(told) == "".join(whole)
    assert cutter.finish == other.finish
    assert not any(each in "".join(told) for each in stop)


def test_a_model_that_writes_token_by_token_has_as_many_of_them():
    told, cutter = cut([" in", "ter", "national", "ization", " x"], max_tokens=4)
    assert "".join(told) == " internationalization"
    assert cutter.finish is Finish.LENGTH
    assert cutter.tokens == 4


def test_a_text_in_one_piece_ends_after_so_many_words():
    told, cutter = cut(["one two\nthree four"], max_tokens=3)
    assert "".join(told) == "one two\nthree "
    assert (cutter.finish, cutter.tokens) == (Finish.LENGTH, 3)


def test_a_character_of_a_script_without_spaces_is_a_token():
    told, _ = cut(["你好世界"], max_tokens=2)
    assert "".join(told) == "你好"


def test_a_text_of_just_so_many_tokens_ends_for_its_length():
    _, cutter = cut(["one", " two"], max_tokens=2)
    assert cutter.finish is Finish.LENGTH


def test_a_stop_sequence_before_the_last_token_is_the_reason():
    told, cutter = cut(["one STOP two"], max_tokens=2, stop=["STOP"])
    assert "".join(told) == "one "
    assert cutter.finish is Finish.STOP


def test_what_was_held_back_comes_with_the_last_token():
    told, _ = cut(["one ", "ST"], max_tokens=2, stop=["STOP"])
    assert "".join(told) == "one ST"


@given(st.text(max_size=60), st.integers(1, 10))
def test_a_text_is_never_longer_than_its_limit_nor_changed(text, most):
    told, cutter = cut([text], max_tokens=most)
    assert text.startswith("".join(told))
    assert cutter.tokens <= most


@pytest.mark.parametrize(("texts", "tokens"), [([], 0), (["abcd", "abcde"], 3), ([""], 0)])
def test_tokens_are_counted_roughly(texts, tokens):
    assert rough_count(texts) == tokens
