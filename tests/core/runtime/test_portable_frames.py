"""What one end packs the other end unpacks, in whatever pieces it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.runtime.portable import frames
from freelane.runtime.portable.frames import FrameError, Kind, Reader, frame


@given(st.lists(st.integers(0, 500), max_size=5), st.binary(max_size=9), st.binary(max_size=9))
def test_rows_come_as_they_were_sent(counts, parameters, rows):
    packed = frames.pack_rows(counts, parameters, rows)
    assert frames.unpack_rows(packed) == (counts, parameters, rows)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=9)), max_size=5))
def test_replies_come_as_they_were_sent(replies):
    assert frames.unpack_replies(frames.pack_replies(replies)) == replies


@given(
    st.lists(
        st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=20)),
        max_size=6,
    ),
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
def test_frames_come_whole_in_whatever_pieces(sent, sizes):
    data = b"".join(frame(*one) for one in sent)
    reader, found, start = Reader(), [], 0
    for size in [*sizes, len(data)]:
        found += reader.feed(data[start : start + size])
        start += size
    assert found == sent


@pytest.mark.parametrize(
    "data", [b"\xff" * 9, b"\x00\x00\x00\x00\xff\x00\x00\x00\x00", b"\x7f" + b"\x00" * 8]
)
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(FrameError):
        Reader().feed(data)
