"""How answers go out: whole or in pieces, to slow readers, to who is gone; nothing gets in."""

import contextlib
import socket
import time

import pytest

CLOSE = "Connection: close"


def test_an_answer_has_its_type_its_length_a_date_and_the_requests_id(listened, request_of):
    head, _, body = listened.raw(request_of("/echo", b"abc", CLOSE)).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert (first, body) == ("HTTP/1.1 200 OK", b"abc")
    assert headers["Content-Type"] == "text/plain"
    assert headers["Content-Length"] == "3"
    assert headers["Connection"] == "close"
    assert len(headers["x-request-id"]) == 32
    assert headers["Date"].endswith(" GMT")


def test_ids_differ(listened, request_of):
    answer = listened.raw(request_of("/echo", b"1"), request_of("/echo", b"2", CLOSE))
    ids = [piece[:32] for piece in answer.split(b"x-request-id: ")[1:]]
    assert len(set(ids)) == 2


def test_nothing_in_an_answers_headers_ends_a_line(listened, request_of):
    answer = listened.raw(request_of("/injected", b"", CLOSE))
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"\r\nx-evil" not in head
    assert b"\r\nx-a: 1  x-evil: 2\r\n" in head
    assert b"x b" not in head
    assert head.count(b"Content-Length: ") == 1
    assert b"Content-Length: 2" in head


def test_a_head_request_is_answered_without_a_body(listened, request_of):
    asked = request_of("/refused", method="HEAD") + request_of("/stream", method="HEAD")
    answer = listened.raw(asked + request_of("/echo", None, CLOSE, method="HEAD"))
    assert answer.count(b"HTTP/1.1 ") == 3
    assert b"Content-Length: 16" in answer
    assert b"one" not in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(listened, request_of, status):
    answer = listened.raw(request_of(f"/status?{status}", b"", CLOSE))
    assert b"Content-" not in answer
    assert answer.endswith(b"\r\n\r\n")


def test_an_unknown_status_is_still_a_status_line(listened, request_of):
    answer = listened.raw(request_of("/status?799", b"", CLOSE))
    assert answer.startswith(b"HTTP/1.1 799 Unknown\r\n")


def test_nagle_waits_for_nobody(listened, request_of):
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        sock = exchange._line._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- HTTP/1.0


def test_http_1_0_is_answered_and_the_connection_ends(listened, request_of):
    answer = listened.raw(request_of("/echo", b"abc", version="1.0"))
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nabc")


def test_http_1_0_may_ask_to_keep_the_connection(listened, request_of):
    keep = request_of("/echo", b"1", "Connection: keep-alive", version="1.0")
    answer = listened.raw(keep + request_of("/echo", b"2", version="1.0"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"\r\nConnection: keep-alive\r\n") == 1


def test_a_stream_to_http_1_0_ends_with_the_connection(listened, request_of):
    keep = request_of("/stream", b"", "Connection: keep-alive", version="1.0")
    head, _, body = listened.raw(keep).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head
    assert body == b"one\ntwo\n"


# --- pieces


def test_a_stream_comes_in_chunks_and_the_connection_goes_on(listened, request_of):
    answer = listened.raw(request_of("/stream", b"") + request_of("/echo", b"next", CLOSE))
    streamed, _, after = answer.partition(b"0\r\n\r\n")
    head, _, body = streamed.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head + b"\r\n"
    assert b"\r\nx-more: yes\r\n" in head
    assert body == b"4\r\none\n\r\n4\r\ntwo\n\r\n"
    assert after.endswith(b"\r\n\r\nnext")
    assert listened.app.finishes[0] == ("/stream", 200, 8)


def test_a_stream_waits_for_a_slow_reader_and_goes_on(listened, request_of):
    with listened.connect(request_of("/endless", b"")) as sock:
        time.sleep(0.2)
        waits = listened.wait_for(lambda: len(listened.listener._crowd.timed))
        assert waits == 1
        got = 0
        while got < 50_000_000:  # more than any buffers hold
            got += len(sock.recv(1 << 20))
    listened.wait_for(lambda: listened.app.gone == ["/endless"])


def test_who_does_not_read_a_stream_is_ended_in_time(listen, request_of):
    listened = listen(write_s=0.2)
    with listened.connect(request_of("/endless", b"")):
        listened.wait_for(lambda: listened.app.gone == ["/endless"])
    assert [finish[:2] for finish in listened.app.finishes] == [("/endless", 499)]


def test_who_does_not_read_a_large_answer_is_ended_in_time(listen, request_of):
    listened = listen(write_s=0.2)
    with listened.connect(request_of("/large", b"")):
        listened.wait_finished(("/large", 499, 30 * 2**20))


def test_who_reads_a_large_answer_slowly_has_a_total_of_time_for_it(listen, request_of):
    listened = listen(write_s=0.5)
    with listened.connect(request_of("/large", b"")) as sock:
        while not listened.app.finishes:
            sock.recv(1000)
            time.sleep(0.01)
    assert listened.app.finishes == [("/large", 499, 30 * 2**20)]


def test_a_large_answer_comes_whole_and_the_next_request_waits_for_it(listened, request_of):
    answer = listened.raw(request_of("/large", b"") + request_of("/echo", b"next", CLOSE))
    assert len(answer) > 30 * 2**20
    assert answer.endswith(b"\r\n\r\nnext")
    assert listened.app.finishes == [("/large", 200, 30 * 2**20), ("/echo", 200, 4)]


def test_who_asks_and_never_reads_is_read_no_more(listen, request_of):
    listened = listen(write_s=0.5)
    with listened.connect() as sock:
        sock.settimeout(5)
        ask = request_of("/echo", b"x" * 8000) * 100
        try:
            for _ in range(2000):
                sock.sendall(ask)
        except OSError:
            pass
        else:
            pytest.fail("1.6 GB were taken from who reads nothing")


# --- who is gone


def test_who_hangs_up_is_told_of_once(listened, request_of):
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
    listened.wait_finished(("/later", 499, 0))
    assert listened.app.gone == ["/later"]
    assert exchange.is_gone


def test_an_answer_to_who_is_gone_goes_nowhere(listened, request_of):
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
    listened.wait_for(lambda: exchange.is_gone)
    drained = []
    listened.do(exchange.reply, 200, b"late")
    listened.do(exchange.begin, 200, "text/plain")
    assert listened.do(exchange.send, b"late") is True
    listened.do(exchange.when_drained, lambda: drained.append(1))
    listened.do(exchange.end)
    listened.do(exchange.abort)
    assert drained == [1]
    assert listened.app.finishes == [("/later", 499, 0)]
    assert listened.complaints == []


def test_who_waits_for_a_reader_that_goes_hears_of_it(listened, request_of):
    drained = []
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        listened.do(exchange.begin, 200, "text/plain")
        while listened.do(exchange.send, b"x" * 1_000_000):
            pass
        listened.do(exchange.when_drained, lambda: drained.append(exchange.is_gone))
        assert drained == []
    listened.wait_for(lambda: drained == [True])


def test_who_hangs_up_in_a_body_never_comes_to_the_app(listened, request_of):
    with listened.connect(request_of("/echo", None, "Content-Length: 9") + b"half"):
        pass
    listened.wait_finished(("/echo", 499, 0))
    assert listened.app.headers == []


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(listened, request_of):
    with listened.connect(request_of("/later", b"")) as sock:
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        listened.do(exchange.begin, 200, "text/plain")
        listened.do(exchange.send, b"half")
        assert sock.recv(65536).endswith(b"\r\n\r\n4\r\nhalf\r\n")
        listened.do(exchange.abort)
        with contextlib.suppress(ConnectionError):
            assert sock.recv(65536) == b""
    listened.wait_finished(("/later", 200, 4))
    assert listened.app.gone == []


def test_two_answers_to_a_request_are_an_error_of_ours(listened, request_of):
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        listened.do(exchange.reply, 200, b"once")
        for again in (exchange.reply, exchange.begin):
            with pytest.raises(RuntimeError):
                listened.do(again, 200, b"twice")
        with pytest.raises(RuntimeError):
            listened.do(exchange.send, b"more")
        with pytest.raises(RuntimeError):
            listened.do(exchange.end)


def test_who_sends_and_closes_its_half_still_gets_what_is_ready(listened, request_of):
    with listened.connect(request_of("/large", b"") + request_of("/echo", b"last")) as sock:
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while more := sock.recv(1 << 20):
            answer += more
    assert answer.endswith(b"\r\n\r\nlast")


# --- refusals


def test_a_refused_request_without_a_body_leaves_the_connection(listened, request_of):
    asked = request_of("/refused", method="GET") + request_of("/echo", b"2", CLOSE)
    answer = listened.raw(asked)
    assert b"\r\nx-refused: yes\r\n" in answer
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"\r\n\r\n2")


@pytest.mark.parametrize(("path", "status"), [("/refused", 403), ("/small", 413), ("/nobody", 200)])
def test_a_request_whose_body_is_not_read_ends_the_connection(listened, request_of, path, status):
    second = request_of("/echo", b"2")
    assert listened.statuses(request_of(path, second * 3) + second) == [status]


def test_a_caller_who_sends_megabytes_after_a_refusal_can_read_it(listened, request_of):
    with listened.connect() as sock:
        sock.sendall(request_of("/refused", b"x" * 9_000_000))
        assert sock.recv(12) == b"HTTP/1.1 403"


@pytest.mark.parametrize("path", ["/broken-head", "/broken-body"])
def test_a_bug_above_is_answered_and_the_server_goes_on(listened, request_of, path):
    assert listened.statuses(request_of(path, None, method="GET") + request_of()) == [500, 411]


def test_a_bug_in_what_refuses_ends_the_connection_alone(listened, request_of, monkeypatch):
    def refuse(exchange, problem):
        raise KeyError("a bug")

    monkeypatch.setattr(listened.app, "refuse", refuse)
    assert listened.raw(request_of("/refused", b"")) == b""
    assert listened.raw(b"nonsense\r\n\r\n") == b""
    assert listened.statuses(request_of("/echo", b"", CLOSE)) == [200]
    assert {str(context["exception"]) for context in listened.complaints} == {"'a bug'"}


def test_a_bug_in_what_notes_answers_costs_no_answer(listened, request_of, monkeypatch):
    def finished(exchange, status, sent):
        raise KeyError("a bug")

    monkeypatch.setattr(listened.app, "finished", finished)
    assert listened.statuses(request_of("/echo", b"1"), request_of("/echo", b"", CLOSE)) == [
        200,
        200,
    ]
    assert len(listened.complaints) == 2


def test_a_bug_in_the_midst_of_an_answer_breaks_it_off(listened, request_of):
    def body(exchange):
        exchange.begin(200, "text/plain")
        exchange.send(b"half")
        raise KeyError("a bug")

    listened.app.body = body
    assert listened.raw(request_of("/any", b"")).count(b"0\r\n\r\n") == 0
    listened.wait_finished(("/any", 200, 4))
    assert len(listened.complaints) == 1


def test_a_bug_in_what_hears_of_the_end_is_noted_and_no_more(listened, request_of):
    with listened.connect(request_of("/later", b"")):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        exchange.on_gone = lambda: 1 / 0
    listened.wait_finished(("/later", 499, 0))
    assert len(listened.complaints) == 1


def test_content_types_of_users_fill_no_memory(listened, request_of):
    listened.app.body = lambda exchange: exchange.reply(200, b"", f"text/{exchange.query}")
    asked = [request_of(f"/any?{n}", b"") for n in range(600)]
    assert listened.statuses(*asked, request_of("/any", b"", CLOSE)) == [200] * 601
    assert len(listened.listener._crowd.writer._starts) <= 256
