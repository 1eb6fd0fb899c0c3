"""The server's side of a rate that is counted elsewhere: it answers nothing that nobody counted."""

import json
import socket
import threading
import time

import pytest

from freelane.runtime.portable.problems import RateExceeded, Unavailable
from freelane.runtime.portable.rationed import LARGEST_MESSAGE, Rationed


class Counter:
    """The other end of the socket: answers as a test says, and keeps what it was asked."""

    def __init__(self, sock):
        self.sock = sock
        self.asked = []
        self.returned = []
        self.answers = []
        self.units = 100
        self.for_s = 5.0
        self.count = 0
        self.is_deaf = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                message = json.loads(self.sock.recv(LARGEST_MESSAGE))
            except (OSError, ValueError):
                return
            if message == "end":
                return
            self.returned += message["done"]
            if message["want"] == 0 or self.is_deaf:
                continue
            self.asked.append(message)
            answer = self.answers.pop(0) if self.answers else self.grant(message["want"])
            self.sock.send(json.dumps({"id": message["id"], **answer}).encode())

    def grant(self, want):
        units = min(want, self.units)
        self.units -= units
        self.count += 1
        lines = [["minute", 100, self.units, 60.0]]
        return {
            "grant": f"g{self.count}",
            "units": units,
            "ends_at": time.monotonic() + self.for_s,
            "lines": lines,
        }

    def wait(self, condition):
        give_up = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < give_up, (self.asked, self.returned)
            time.sleep(0.005)


REFUSED = {
    "refused": {
        "quota": "local/rate.minute@o/e",
        "name": "minute",
        "window": "60 s, sliding",
        "retry_after_s": 41.2,
    },
    "lines": [["minute", 5, 0, 41.2], ["day", 100, 7, 3600.0]],
}


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def counter(ends):
    made = Counter(ends[1])
    yield made
    ends[0].send(b'"end"')
    made.thread.join(5)


@pytest.fixture
def rates(ends, counter):
    """It closes its own end, so it gets a copy."""
    made = Rationed(ends[0].dup(), patience_s=1.0)
    yield made
    made.close()


def test_each_request_is_a_unit_that_was_granted(rates, counter):
    told = [rates.take().headers["x-ratelimit-remaining"] for _ in range(3)]

    assert told == ["99", "98", "97"]
    assert sum(message["want"] for message in counter.asked) >= 3


def test_a_busy_server_asks_for_more_at_a_time(rates, counter):
    for _ in range(60):
        rates.take().end()

    assert len(counter.asked) < 15
    assert max(message["want"] for message in counter.asked) > 8


def test_the_headers_count_what_the_grant_still_has(rates, counter):
    counter.answers = [
        {
            "grant": "g",
            "units": 3,
            "ends_at": time.monotonic() + 5.0,
            "lines": [["hour", 10, 4, 9.5], ["day", 99, 50, 2]],
        }
    ]
    first, second = rates.take().headers, rates.take().headers

    assert first.items() >= {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "6"}.items()
    assert first["x-ratelimit-reset"] == "10"
    assert second["x-ratelimit-remaining-hour"] == "5"
    assert second["x-ratelimit-remaining-day"] == "51"


def test_a_refusal_says_which_limit_and_when(rates, counter):
    counter.answers = [REFUSED]

    with pytest.raises(RateExceeded) as refused:
        rates.take()

    assert refused.value.details == {
        "quota_id": "local/rate.minute@o/e",
        "limit": 5,
        "window": "60 s, sliding",
    }
    assert refused.value.headers["Retry-After"] == "42"
    assert refused.value.headers["x-ratelimit-remaining-day"] == "7"


def test_a_refusal_is_not_asked_for_again_at_once(rates, counter):
    counter.answers = [REFUSED]
    for _ in range(20):
        with pytest.raises(RateExceeded, match="5 requests per minute"):
            rates.take()

    assert len(counter.asked) == 1


def test_nothing_is_answered_when_nobody_counts(rates, counter):
    counter.is_deaf = True

    with pytest.raises(Unavailable, match="nobody counts its rate now") as unavailable:
        rates.take()
    began = time.monotonic()
    with pytest.raises(Unavailable):  # and others are told at once
        rates.take()

    assert unavailable.value.headers == {"Retry-After": "1"}
    assert time.monotonic() - began < 0.3


def test_it_asks_again_once_somebody_counts_again(rates, counter):
    counter.is_deaf = True
    with pytest.raises(Unavailable):
        rates.take()
    counter.is_deaf = False
    time.sleep(0.55)

    assert rates.take().headers["x-ratelimit-remaining"] == "99"


def test_a_ledger_that_does_not_answer_is_unavailable(rates, counter):
    counter.answers = [{"error": "the ledger does not answer"}]

    with pytest.raises(Unavailable, match="cannot be counted now"):
        rates.take()


def test_an_answer_to_another_question_is_passed_over(ends, rates, counter):
    ends[1].send(json.dumps({"id": "an older one", **counter.grant(50)}).encode())
    ends[1].send(b"no json")

    ends[1].send(b"[1]")

    rates.take()

    assert counter.units == 49


def test_a_grant_that_is_heard_of_too_late_is_not_used(rates, counter):
    lines = [["minute", 100, 92, 60.0]]
    counter.answers = [{"grant": "g", "units": 8, "ends_at": time.monotonic(), "lines": lines}]

    with pytest.raises(Unavailable, match="in time"):
        rates.take()


def test_what_a_grant_has_left_goes_back_before_its_time_is_over(rates, counter):
    counter.for_s = 0.6
    counter.answers = [
        {
            "grant": "g",
            "units": 8,
            "ends_at": time.monotonic() + 0.6,
            "lines": [["minute", 100, 92, 60.0]],
        }
    ]
    for _ in range(3):
        rates.take().end()

    counter.wait(lambda: counter.returned)

    assert counter.returned == [["g", 3]]


def test_what_is_left_at_the_end_goes_back(ends, counter):
    rates = Rationed(ends[0].dup())
    counter.answers = [
        {
            "grant": "g",
            "units": 8,
            "ends_at": time.monotonic() + 60.0,
            "lines": [["day", 9, 1, 60.0]],
        }
    ]
    rates.take().end()

    rates.close()

    counter.wait(lambda: counter.returned)
    assert counter.returned == [["g", 1]]


def test_a_request_that_was_malformed_is_not_used(rates, counter):
    ticket = rates.take()
    ticket.give_back()

    rates.take()

    assert len(counter.asked) == 1, "the unit that came back was not asked for anew"


def test_a_used_grant_is_told_of_with_the_next_question(rates, counter):
    rates.take().end()
    rates.take()

    assert counter.returned == [["g1", 1]]


def test_a_grant_whose_requests_still_run_is_not_closed(rates, counter):
    running = rates.take()
    rates.take()
    assert counter.returned == []

    running.give_back()
    rates.close()

    assert ["g1", 0] in counter.returned


def test_many_threads_use_what_was_granted_and_no_more(rates, counter):
    counter.units = 40
    answered = []
    refused = {**REFUSED, "lines": [["minute", 100, 0, 41.2]]}

    def grant(want, original=counter.grant):
        return original(want) if counter.units else refused

    counter.grant = grant

    def ask():
        for _ in range(20):
            try:
                rates.take().end()
            except RateExceeded:
                return
            answered.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answered) == 40
