"""What is read as a request, and what is not: by the rules of the portable server, byte by byte."""

import contextlib
import socket
import time

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freelane.runtime.portable.messages import _parse_head
from freelane.runtime.portable.problems import BadRequest
from freelane.runtime.server.http.requests import HeadReader

CLOSE = "Connection: close"


def replies(data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each of some replies with lengths."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append((int(head[9:12]), data[:size]))
        data = data[size:]
    return found


def test_a_body_comes_back_as_it_was_sent(listened, request_of):
    answer = listened.raw(request_of("/echo?a=b", b"\0\xff body", CLOSE))
    assert replies(answer) == [(200, b"\0\xff body")]


def test_one_connection_serves_many_requests(listened, request_of):
    with listened.connect() as sock:
        for n in range(3):
            sock.sendall(request_of("/echo", b"%d" % n))
            assert sock.recv(65536).endswith(b"\r\n\r\n%d" % n)


def test_pipelined_requests_are_answered_in_their_order(listened, request_of):
    sent = [request_of("/echo", b"%d" % n) for n in range(200)]
    sent.append(request_of("/echo", b"last", CLOSE))
    found = replies(listened.raw(b"".join(sent)))
    assert found == [(200, b"%d" % n) for n in range(200)] + [(200, b"last")]


def test_a_pipelined_request_waits_for_the_answer_before_it(listened, request_of):
    with listened.connect(request_of("/later", b"1") + request_of("/echo", b"2", CLOSE)) as sock:
        (first,) = listened.wait_for(lambda: listened.app.waiting)
        listened.do(first.reply, 200, b"one")
        answer = b""
        while more := sock.recv(65536):
            answer += more
    assert replies(answer) == [(200, b"one"), (200, b"2")]


def test_no_more_than_so_much_is_read_ahead_of_an_answer(listened, request_of):
    with listened.connect(request_of("/later", b"")) as sock:
        (first,) = listened.wait_for(lambda: listened.app.waiting)
        sock.settimeout(0.5)
        ahead = request_of("/echo", b"x" * 1_000_000)
        with pytest.raises(TimeoutError):
            sock.sendall(ahead * 100)
        listened.do(first.reply, 200, b"")
        sock.settimeout(10)
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_equal_heads_are_read_once(listened, request_of):
    with listened.connect() as sock:
        for _ in range(2):
            sock.sendall(request_of("/echo", b"ab"))
            sock.recv(65536)
    first, second = listened.app.headers
    assert first is second


def test_a_shorter_head_after_a_longer_one_is_its_own(listened, request_of):
    one, two = request_of("/echo", b"ab", "X: 1"), request_of("/echo", b"cd", CLOSE)
    assert replies(listened.raw(one + one, two)) == [(200, b"ab"), (200, b"ab"), (200, b"cd")]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_a_request_may_come_in_pieces_of_any_size(listened, request_of, size):
    data = request_of("/echo", b"first") + request_of("/echo", b"second", CLOSE)
    with listened.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            sock.sendall(data[start : start + size])
            time.sleep(0.0002)
        answer = b""
        while more := sock.recv(65536):
            answer += more
    assert replies(answer) == [(200, b"first"), (200, b"second")]


def test_a_large_body_is_read(listened, request_of):
    body = bytes(range(256)) * 4 * 10_000
    ((status, echoed),) = replies(listened.raw(request_of("/echo", body, CLOSE)))
    assert (status, echoed == body) == (200, True)


def test_a_get_needs_no_length_and_a_post_does(listened, request_of):
    assert listened.statuses(request_of(method="GET") + request_of()) == [200, 411]


# --- 100-continue


def test_who_expects_it_is_told_to_continue(listened, request_of):
    head = request_of("/echo", None, "Expect: 100-continue", "Content-Length: 2", CLOSE)
    with listened.connect(head) as sock:
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ab")
        assert sock.recv(65536).endswith(b"\r\n\r\nab")


@pytest.mark.parametrize(("path", "status"), [("/refused", 403), ("/small", 413), ("/nobody", 200)])
def test_who_expects_it_and_is_not_read_is_answered_at_once(listened, request_of, path, status):
    head = request_of(path, None, "Expect: 100-continue", "Content-Length: 5000")
    assert listened.statuses(head) == [status]


# --- chunks


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"


@pytest.mark.parametrize("trailers", [b"\r\n", b"Checksum: 1\r\nOther: 2\r\n\r\n"])
def test_a_chunked_body_is_read_with_its_extensions_and_trailers(listened, request_of, trailers):
    head = request_of("/echo", None, "Transfer-Encoding: Chunked")
    sent = head + chunked(b"ab", b"c" * 70_000) + trailers + request_of("/echo", b"2", CLOSE)
    assert replies(listened.raw(sent)) == [(200, b"ab" + b"c" * 70_000), (200, b"2")]


def test_three_megabytes_in_chunks_of_one_byte_are_refused_quickly(listened, request_of):
    head = request_of("/echo", None, "Transfer-Encoding: chunked")
    begun = time.monotonic()
    with listened.connect(head) as sock:
        with contextlib.suppress(OSError):  # it was answered, and need not hear the rest
            sock.sendall(b"1\r\nx\r\n" * 3_000_000)
        assert sock.recv(12) == b"HTTP/1.1 413"
    assert time.monotonic() - begun < 5


BAD_CHUNKS = {
    "no size": b"zz\r\n",
    "a negative size": b"-1\r\n\r\n",
    "hex notation": b"0x1\r\na\r\n0\r\n\r\n",
    "more than 32 bits": b"1FFFFFFFF\r\na\r\n0\r\n\r\n",
    "a tail": b"1\r\nabc\r\n0\r\n\r\n",
    "a bare line feed": b"1\na\n0\n\n" + b"x" * 2000,
    "a long extension": b"1;" + b"a" * 300 + b"\r\na\r\n0\r\n\r\n",
    "a size that never ends": b"1" + b" " * 2000,
    "a NUL in an extension": b"1;a\0\r\na\r\n0\r\n\r\n",
    "a malformed trailer": b"0\r\nno trailer\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailers without end": b"0\r\n" + b"A: b\r\n" * 9000,
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_malformed_chunks_are_refused_and_the_connection_ends(listened, request_of, body):
    head = request_of("/echo", None, "Transfer-Encoding: chunked")
    assert listened.statuses(head + body + request_of("/echo", b"2")) == [400]


@pytest.mark.parametrize("body", [b"ffffffff\r\n", b"50\r\n" + b"a" * 80 + b"\r\n20\r\n"])
def test_chunks_beyond_what_is_taken_are_refused(listened, request_of, body):
    head = request_of("/small", None, "Transfer-Encoding: chunked")
    assert listened.statuses(head + body) == [413]


# --- what readers might split differently

SMUGGLED = {
    "length and coding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    "the same length twice": "Content-Length: 2\r\ncontent-length: 2\r\n\r\n[]",
    "a list of lengths": "Content-Length: 2, 2\r\n\r\n[]",
    "a length with a sign": "Content-Length: +2\r\n\r\n[]",
    "a negative length": "Content-Length: -2\r\n\r\n[]",
    "a length in hex": "Content-Length: 0x2\r\n\r\n[]",
    "an empty length": "Content-Length:\r\n\r\n[]",
    "a length with a blank": "Content-Length: 1 2\r\n\r\n[]",
    "a superscript length": "Content-Length: \xb2\r\n\r\n[]",
    "a length of no end": f"Content-Length: {'9' * 20}\r\n\r\n[]",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "a coding before it": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding after it": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding after a tab stop": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a quoted coding": 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a blank before the colon": "Content-Length : 2\r\n\r\n[]",
    "a tab before the colon": "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": "X: a\r\n b\r\nContent-Length: 2\r\n\r\n[]",
    "a folded length": "Content-Length:\r\n 2\r\n\r\n[]",
    "a bare carriage return": "X: a\rContent-Length: 2\r\n\r\n[]",
    "a bare line feed": "X: a\nContent-Length: 2\r\n\r\n[]",
    "a NUL": "X: a\0\r\nContent-Length: 2\r\n\r\n[]",
    "no name": ": a\r\nContent-Length: 2\r\n\r\n[]",
    "no colon": "Content-Length 2\r\n\r\n[]",
    "two hosts": "Host: evil.example\r\nContent-Length: 2\r\n\r\n[]",
    "two tokens": "Authorization: a\r\nAuthorization: b\r\nContent-Length: 2\r\n\r\n[]",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_request_that_readers_may_split_differently_ends_the_connection(
    listened, request_of, rest
):
    head = request_of().removesuffix(b"\r\n")
    follows = request_of("/echo", b"2", CLOSE)
    assert listened.statuses(head + rest.encode("latin-1") + follows) == [400]


MALFORMED = {
    "no version": b"GET /ping\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/0.9 in lower case": b"get / http/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\r\n\r\n",
    "an empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank at the end": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a target that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a large head": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 80_000,
    "too many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 300 + b"\r\n",
    "HTTP/1.0 in chunks": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_request_is_refused_and_the_connection_ends(listened, data):
    answer = listened.raw(data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nrefused nowhere")


# --- judged by other readers

HEADS = [
    b"GET / HTTP/1.1\r\nHost: a",
    b"POST /a?b=c HTTP/1.1\r\nHost: a:1\r\nContent-Length: 12\r\nX-Y:\t z \t\r\nX-Y: 2",
    b"PUT /a%20b HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 0",
    b"BREW * HTTP/1.1\r\nHost: [::1]:8\r\nTransfer-Encoding: chunked\r\nAccept:",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: close, te\r\nCookie: \xe9=\xff",
]
ODD = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x0b", b"\xa0", b"\x80", b"Host: b\r\n"]
ODD += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b",", b"1", b"chunked", b";"]


@st.composite
def heads(draw):
    head = bytearray(draw(st.sampled_from(HEADS)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(head)))
        head[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(ODD) | st.binary(max_size=2))
    return bytes(head)


def unspaced(headers):
    """It strips no-break spaces too."""
    return {name: "".join(value.split()) for name, value in headers.items()}


@settings(max_examples=2000, deadline=None)
@given(heads())
def test_no_head_is_taken_that_the_portable_server_refuses_or_reads_otherwise(data):
    if b"\r\n\r\n" in data:
        return
    try:
        ours = HeadReader().read(data)
    except BadRequest:
        return
    theirs = _parse_head(data)
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert unspaced(ours.headers) == unspaced(theirs.headers)
    assert ours.keep_alive <= theirs.keep_alive or "connection" in ours.headers


@settings(max_examples=2000, deadline=None)
@given(heads())
def test_no_head_is_taken_that_h11_refuses_or_frames_otherwise(data):
    if b"\r\n\r\n" in data or b"\xff\xff" in data:
        return
    try:
        ours = HeadReader().read(data)
    except BadRequest:
        return
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(data + b"\r\n\r\n")
    theirs = judge.next_event()
    assert isinstance(theirs, h11.Request)
    assert theirs.method.decode() == ours.method
    assert theirs.target.decode() == ours.path + ("?" + ours.query if ours.query else "")
    given = dict(theirs.headers)
    assert ours.chunked == (b"transfer-encoding" in given)
    assert ours.length == int(given.get(b"content-length", 0))
    assert set(ours.headers) == {name.decode() for name in given}


def test_a_memo_of_lines_does_not_grow_without_end():
    reader = HeadReader()
    for n in range(10_000):
        reader.read(b"GET /%d HTTP/1.1\r\nHost: a\r\nX: %d" % (n, n))
    assert len(reader._lines) <= 2048
    assert len(reader._starts) <= 2048


def test_a_bad_line_stays_bad_however_often_it_comes():
    reader = HeadReader()
    for _ in range(3):
        with pytest.raises(BadRequest):
            reader.read(b"GET / HTTP/1.1\r\nHost: a\r\nX : 1")


def test_who_was_let_in_is_not_asked_about_again_on_the_connection(listened, request_of):
    heads, notes = [], []
    app = listened.app
    ask, answer = app.head, app.body

    def head(exchange):
        heads.append(exchange.path)
        exchange.app_note = f"note {len(heads)}"
        return ask(exchange)

    def body(exchange):
        notes.append(exchange.app_note)
        answer(exchange)

    app.head, app.body = head, body
    sent = [request_of("/echo", b"ab")] * 3
    listened.raw(*sent, request_of("/echo", b"abc"), request_of("/echo", b"a", CLOSE))
    assert heads == ["/echo"] * 3
    assert notes == ["note 1"] * 3 + ["note 2", "note 3"]
    listened.raw(request_of("/echo", b"ab", CLOSE))
    assert len(heads) == 4


def test_who_was_refused_is_asked_about_again(listened, request_of):
    refused = request_of("/refused", method="GET")
    ask = listened.app.head
    heads = []
    listened.app.head = lambda exchange: (heads.append(exchange.path), ask(exchange))[1]
    assert listened.statuses(refused, refused, request_of("/refused", b"x")) == [403, 403, 403]
    assert len(heads) == 3
