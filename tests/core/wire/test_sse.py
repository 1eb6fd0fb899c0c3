import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.wire.sse import EventRefused, Events, event, quoted

BREAKS = [b"\n", b"\r\n", b"\r"]


def cut(data, sizes):
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(
    datas=st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b""))),
    sizes=st.lists(st.integers(0, 7)),
    line_break=st.sampled_from(BREAKS),
)
def test_events_come_whole_however_their_bytes_are_cut(datas, sizes, line_break):
    stream = b"".join(event(data, end=line_break * 2) for data in datas)
    events = Events()
    found = [data for piece in cut(stream, sizes) for data in events.feed(piece)]
    assert found == datas


def test_comments_other_fields_and_empty_events_are_left_out():
    stream = b": ping\n\nevent: x\nid: 3\n\ndata:a\ndata: b\nretry: 1\n\ndata: unfinished"
    assert Events().feed(stream) == [b"a\nb"]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 50, b"data: xxxxxxxxxx\n"])
def test_an_event_that_never_ends_is_refused(piece):
    events = Events(largest=100)
    with pytest.raises(EventRefused, match="100"):
        [events.feed(piece) for _ in range(20)]


@given(st.text())
def test_a_quoted_text_is_one_line_for_every_reader(text):
    data = quoted(text)
    assert json.loads(data) == text
    assert len(data.decode().splitlines()) == 1
