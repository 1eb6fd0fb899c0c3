"""How long callers may take, how many there may be, and how a listener ends."""

import contextlib
import os
import resource
import socket
import threading
import time

import pytest

from freelane.runtime.server.http import limits

CLOSE = "Connection: close"


def drip(sock: socket.socket, data: bytes, every_s: float) -> None:
    with contextlib.suppress(OSError):
        for byte in data:
            sock.sendall(bytes([byte]))
            time.sleep(every_s)


@pytest.mark.parametrize("begun", [b"GET /echo HT", b"\x16\x03\x01\x00\xa5"], ids=["HTTP", "TLS"])
def test_a_head_that_does_not_end_is_refused_in_time(listen, begun):
    listened = listen(head_s=0.2)
    assert listened.statuses(begun) == [408]


def test_a_byte_now_and_then_gets_a_head_no_more_time(listen, request_of):
    listened = listen(head_s=0.3)
    with listened.connect() as sock:
        started = time.monotonic()
        feeder = threading.Thread(target=drip, args=(sock, request_of("/" + "x" * 500), 0.01))
        feeder.start()
        assert sock.recv(12) == b"HTTP/1.1 408"
        assert time.monotonic() - started < 2
        sock.close()
        feeder.join()


def test_a_body_that_does_not_end_is_refused_in_time(listen, request_of):
    listened = listen(body_s=0.2)
    head = request_of("/echo", None, "Content-Length: 9")
    assert listened.statuses(head + b"half") == [408]
    listened.wait_finished(("/echo", 408, len("refused /echo")))


def test_a_byte_now_and_then_gets_a_body_no_more_time(listen, request_of):
    listened = listen(body_s=0.3)
    with listened.connect(request_of("/echo", None, "Transfer-Encoding: chunked")) as sock:
        started = time.monotonic()
        feeder = threading.Thread(target=drip, args=(sock, b"1\r\nx\r\n" * 100, 0.01))
        feeder.start()
        assert sock.recv(12) == b"HTTP/1.1 408"
        assert time.monotonic() - started < 2
        sock.close()
        feeder.join()


def test_a_connection_that_idles_ends(listen, request_of):
    listened = listen(idle_s=0.2)
    with listened.connect() as silent, listened.connect(request_of("/echo", b"1")) as served:
        assert silent.recv(1) == b""
        assert served.recv(65536).endswith(b"1")
        assert served.recv(1) == b""


def test_a_request_in_time_starts_the_idle_time_anew(listen, request_of):
    listened = listen(idle_s=0.5)
    with listened.connect() as sock:
        for _ in range(4):
            sock.sendall(request_of("/echo", b"1"))
            assert sock.recv(65536).endswith(b"1")
            time.sleep(0.3)


def test_an_answer_may_take_longer_than_an_idle_connection_may(listen, request_of):
    listened = listen(idle_s=0.1, head_s=0.1, body_s=0.1, write_s=0.1)
    with listened.connect(request_of("/later", b"")) as sock:
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        time.sleep(0.4)
        listened.do(exchange.reply, 200, b"late")
        assert sock.recv(65536).endswith(b"late")


def test_who_keeps_sending_after_a_refusal_is_cut_off(listen):
    listened = listen(linger_s=0.2)
    with listened.connect(b"nonsense\r\n\r\n") as sock:
        assert sock.recv(12) == b"HTTP/1.1 400"
        started = time.monotonic()
        drip(sock, b"x" * 500, 0.01)
        assert time.monotonic() - started < 3


def test_no_connection_is_remembered_after_its_end(listened, request_of):
    for data in (b"", b"GET", b"nonsense\r\n\r\n", request_of("/echo", b"1"), request_of("/later")):
        listened.connect(data).close()
    crowd = listened.listener._crowd
    listened.wait_for(lambda: not (crowd.members or crowd.idle or crowd.timed))


def test_a_caller_who_reads_its_100_late_still_has_to_send_the_body(listen):
    listened = listen(body_s=0.3)
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n"
    with listened.connect(head) as sock:
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        (connection,) = listened.listener._crowd.members
        # As the loop does where little more than the 100 fits into what may wait.
        listened.do(connection.pause_writing)
        listened.do(connection.resume_writing)
        assert sock.recv(65536).startswith(b"HTTP/1.1 408 ")


# --- how many


def test_a_new_connection_ends_the_one_that_idles_longest(listen, request_of):
    listened = listen(connections=3)
    with listened.connect(request_of("/later", b"")) as busy, listened.connect() as oldest:
        listened.wait_for(lambda: listened.listener.connections == 2)
        with listened.connect() as newer, listened.connect() as newest:
            assert oldest.recv(1) == b""
            for sock in (newest, newer):
                sock.sendall(request_of("/echo", b"1"))
                assert sock.recv(65536).endswith(b"1")
        (exchange,) = listened.app.waiting
        listened.do(exchange.reply, 200, b"still")
        assert busy.recv(65536).endswith(b"still")


def test_with_every_connection_busy_another_is_told_so(listen, request_of):
    listened = listen(connections=2)
    with listened.connect(request_of("/later")), listened.connect(request_of("/later", b"")):
        listened.wait_for(lambda: listened.app.waiting)
        with listened.connect(request_of("/later", b"")):
            listened.wait_for(lambda: len(listened.app.waiting) == 2)
            assert listened.raw().startswith(b"HTTP/1.1 503 ")


def test_strangers_who_never_finish_keep_nobody_out(listen, request_of):
    listened = listen(connections=200)
    with contextlib.ExitStack() as held:
        for _ in range(400):
            held.enter_context(listened.connect())
        assert listened.statuses(request_of("/echo", b"", CLOSE)) == [200]
        assert listened.listener.connections <= 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_that_are_read_take_so_much_memory_together(listen, request_of, is_chunked):
    listened = listen(bodies=3_000_000)
    crowd = listened.listener._crowd
    announced = b"transfer-encoding: chunked" if is_chunked else b"content-length: 2000000"
    begun = b"POST /echo HTTP/1.1\r\nhost: a\r\n" + announced + b"\r\n\r\n"
    chunk = b"186A0\r\n" + b"x" * 100_000 + b"\r\n" if is_chunked else b"x" * 100_000
    most = chunk * 19
    with listened.connect(begun, most) as first:
        listened.wait_for(lambda: crowd.held >= len(most))
        with listened.connect(begun) as second:
            with contextlib.suppress(ConnectionError):
                second.sendall(most)
            assert second.recv(65536).startswith(b"HTTP/1.1 503 ")
        listened.wait_for(lambda: crowd.held <= len(begun + most))
        # What is small, and comes in two parts, is still answered.
        head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\n"
        with listened.connect(head) as small:
            time.sleep(0.05)
            small.sendall(b"1")
            assert small.recv(65536).startswith(b"HTTP/1.1 200 ")
        first.sendall(chunk + (b"0\r\n\r\n" if is_chunked else b""))
        assert first.recv(15) == b"HTTP/1.1 200 OK"
    listened.wait_for(lambda: not crowd.held)


def test_a_loop_that_is_seldom_free_takes_many_connections_in_a_turn(listened):
    with contextlib.ExitStack() as held:
        listened.loop.call_soon_threadsafe(time.sleep, 0.5)
        for _ in range(64):
            held.enter_context(listened.connect())
        turns = 0
        while listened.listener.connections < 64:
            listened.do(lambda: None)
            turns += 1
        assert turns < 20


def test_no_more_connections_are_taken_than_files_may_be_open(monkeypatch):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: asked.append(both))
    assert limits.allow_connections(100) == 100
    assert limits.allow_connections(2000) == 2000
    assert limits.allow_connections(20_000) == 4096 - 128
    assert asked == [(2128, 4096), (4096, 4096)]


def test_without_a_limit_of_files_as_many_are_taken_as_wanted(monkeypatch):
    endless = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (endless, endless))
    assert limits.allow_connections(20_000) == 20_000


# --- the end of a listener


def test_a_drain_lets_each_connection_have_one_more_answer(listened, request_of):
    with (
        listened.connect(request_of("/later", b"")) as waiting,
        listened.connect(request_of("/echo", b"1")) as idle,
    ):
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        assert idle.recv(65536).endswith(b"1")
        drain = threading.Thread(target=listened.do, args=(listened.listener.drain, 10))
        drain.start()
        listened.wait_for(lambda: listened.listener._crowd.is_draining)
        idle.sendall(request_of("/echo", b"2"))
        listened.do(exchange.reply, 200, b"done")
        for sock, body in ((idle, b"2"), (waiting, b"done")):
            answer = sock.recv(65536)
            assert b"\r\nConnection: close\r\n" in answer
            assert answer.endswith(body)
            assert sock.recv(1) == b""
            sock.close()
        drain.join(5)
        assert not drain.is_alive()


def test_a_drain_answers_what_came_behind_a_request(listened, request_of):
    with listened.connect(request_of("/later", b"") + request_of("/echo", b"2")) as sock:
        (exchange,) = listened.wait_for(lambda: listened.app.waiting)
        drain = threading.Thread(target=listened.do, args=(listened.listener.drain, 10))
        drain.start()
        listened.wait_for(lambda: listened.listener._crowd.is_draining)
        listened.do(exchange.reply, 200, b"1")
        answer = b""
        while more := sock.recv(65536):
            answer += more
    drain.join(5)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: close") == 1
    assert answer.endswith(b"2")


def test_a_drain_ends_idle_connections_after_a_while_and_the_rest_after_its_grace(
    listened, request_of
):
    with listened.connect() as idle, listened.connect(request_of("/later", b"")) as stuck:
        listened.wait_for(lambda: listened.app.waiting)
        started = time.monotonic()
        drain = threading.Thread(
            target=lambda: listened.do(listened.listener.drain, 1.0, idle_s=0.1)
        )
        drain.start()
        assert idle.recv(1) == b""
        assert time.monotonic() - started < 0.8
        drain.join(5)
        assert 0.9 < time.monotonic() - started < 4
        assert stuck.recv(1) == b""
    assert listened.app.finishes == [("/later", 499, 0)]


def test_two_listeners_of_one_socket_take_over_from_each_other(listen, request_of):
    first, second = listen(), listen()
    # socket.dup() would make it blocking for both: the flag belongs to what they share
    shared = socket.socket(fileno=os.dup(first.listener._sockets[0].fileno()))
    later = second.do(second._start, limits.Limits(), shared)
    first.do(first.listener.stop_accepting)
    assert first.statuses(request_of("/echo", b"", CLOSE)) == [200]
    assert first.app.finishes == []
    assert second.app.finishes == [("/echo", 200, 0)]
    second.do(later.drain, 0)
