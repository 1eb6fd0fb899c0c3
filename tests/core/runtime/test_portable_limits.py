"""Deadlines and rates, at speeds that a test can wait for."""

import socket
import threading
import time

import pytest

from freelane.runtime.portable.messages import Connection, ConnectionEnded, Head
from freelane.runtime.portable.problems import RateExceeded, RequestTimeout
from freelane.runtime.portable.rates import MemoryRates


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours, write_timeout_s=1), theirs


def drip(sock, pieces, stop):
    """Send one piece every 20 ms, so that no single read ever times out."""
    for piece in pieces:
        if stop.wait(0.02):
            return
        sock.sendall(piece)


@pytest.fixture
def dripping(pair):
    stop = threading.Event()
    threads = []

    def start(pieces):
        threads.append(threading.Thread(target=drip, args=(pair[1], pieces, stop)))
        threads[-1].start()
        return pair[0]

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def test_a_head_that_drips_is_ended_by_one_deadline_for_all_of_it(dripping):
    connection = dripping([b"GET / HTTP/1.1\r\n", *[b"X: 1\r\n"] * 500])
    started = time.monotonic()
    with pytest.raises(RequestTimeout):
        connection.read_head(idle_s=5, deadline_s=0.2)
    assert time.monotonic() - started < 2


def test_a_body_that_drips_is_ended_by_one_deadline_for_all_of_it(dripping):
    connection = dripping([b"x"] * 500)
    head = Head("POST", "/", {"content-length": "500"}, keep_alive=True)
    with pytest.raises(RequestTimeout):
        connection.read_body(head, largest=1000, deadline_s=0.2)


def test_a_silent_connection_ends_without_an_answer(pair):
    with pytest.raises(ConnectionEnded):
        pair[0].read_head(idle_s=0.05, deadline_s=5)


def test_a_caller_who_waits_for_leave_to_send_its_body_gets_it(pair):
    connection, theirs = pair
    head = Head("POST", "/", {"content-length": "2", "expect": "100-continue"}, keep_alive=True)
    got = []
    reader = threading.Thread(target=lambda: (got.append(theirs.recv(100)), theirs.sendall(b"ok")))
    reader.start()
    assert connection.read_body(head, largest=10, deadline_s=5) == b"ok"
    reader.join()
    assert got == [b"HTTP/1.1 100 Continue\r\n\r\n"]


def test_a_rate_slides_and_says_how_long_to_wait():
    now = [0.0]
    rates = MemoryRates({60: 2, 3600: 3}, clock=lambda: now[0])
    rates.take()
    now[0] = 30
    rates.take()
    with pytest.raises(RateExceeded) as refused:
        rates.take()
    assert refused.value.headers["Retry-After"] == "30"
    now[0] = 60
    rates.take()
    now[0] = 300
    with pytest.raises(RateExceeded, match="3 requests per hour"):
        rates.take()
