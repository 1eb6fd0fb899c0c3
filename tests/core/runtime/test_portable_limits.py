"""Deadlines and rates, at speeds that a test can wait for."""

import socket
import threading
import time

import pytest

from freelane.runtime.portable.messages import Connection, ConnectionEnded, Head
from freelane.runtime.portable.problems import RateExceeded, RequestTimeout
from freelane.runtime.portable.rates import MemoryRates
from freelane.runtime.portable.use import LastUse


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


def test_the_headers_say_each_limit_and_the_tightest():
    now = [0.0]
    rates = MemoryRates({60: 5, 3600: 6}, clock=lambda: now[0])
    for _ in range(3):
        rates.take()
    now[0] = 60.5
    assert rates.take().headers == {
        "x-ratelimit-limit": "6",
        "x-ratelimit-remaining": "2",
        "x-ratelimit-reset": "3540",
        "x-ratelimit-limit-minute": "5",
        "x-ratelimit-remaining-minute": "4",
        "x-ratelimit-reset-minute": "60",
        "x-ratelimit-limit-hour": "6",
        "x-ratelimit-remaining-hour": "2",
        "x-ratelimit-reset-hour": "3540",
    }


def test_no_limit_says_nothing():
    assert MemoryRates({}).take().headers == {}


def test_a_request_that_is_given_back_counts_no_more():
    rates = MemoryRates({60: 1}, clock=lambda: 0.0)
    rates.take().give_back()
    ticket = rates.take()
    ticket.end()
    with pytest.raises(RateExceeded):
        rates.take()


def test_a_file_tells_when_the_endpoint_was_last_used(tmp_path):
    file = tmp_path / "used"
    use = LastUse(file)
    use.note()
    first = file.stat().st_mtime_ns
    use.note()
    assert file.stat().st_mtime_ns == first, "at most once a second"
    LastUse(None).note()
    LastUse(tmp_path / "none" / "used").note()  # what cannot be written costs no answer
