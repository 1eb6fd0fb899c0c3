"""The process that counts an endpoint's rate: on the ledger, for a server it knows by a socket."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from freelane.quota import ledger
from freelane.quota.window import cells
from freelane.runtime.portable.problems import RateExceeded, Unavailable
from freelane.runtime.portable.rationed import Rationed
from freelane.runtime.ration import FOR_S, LARGEST_MESSAGE, WINDOWS
from freelane.store.clock import clock_of

SUBJECT = "owner/digits"


class Counted:
    """One endpoint's servers and what counts for them."""

    def __init__(self, folder, url, limits, subject=SUBJECT):
        self.words = [sys.executable, "-P", "-m", "freelane.runtime.ration", "--folder", folder]
        self.words += ["--provider", "local", "--subject", subject]
        for name, limit in limits.items():
            self.words += [f"--{name}", str(limit)]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FREELANE_")}
        self.env |= {"FREELANE_DATABASE_URL": url} if url else {}
        self.servers, self.own = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.alive, self.held = os.pipe()
        self.rates = []
        self.process = None
        self.start()

    def start(self):
        ends = (self.own.fileno(), self.alive)
        self.process = subprocess.Popen(
            [*map(str, self.words), "--channel", str(ends[0]), "--parent", str(ends[1])],
            env=self.env,
            pass_fds=ends,
            stderr=subprocess.PIPE,
        )

    def server(self, patience_s=10.0):
        self.rates.append(Rationed(self.servers.dup(), patience_s=patience_s))
        return self.rates[-1]

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stderr.close()

    def end(self):
        """As the supervisor's end does: the last words."""
        os.close(self.held)
        self.held = None
        said = self.process.communicate(timeout=10)[1]
        assert self.process.returncode == 0, said
        return said.decode()

    def close(self):
        for rates in self.rates:
            rates.close()
        if self.process.poll() is None:
            self.kill()
        self.process.stderr.close()
        for end in (self.servers, self.own):
            end.close()
        for end in filter(None, (self.alive, self.held)):
            os.close(end)


@pytest.fixture
def count(tmp_path, database_url, store):
    made = []

    def start(subject=SUBJECT, **limits):
        made.append(Counted(tmp_path / "freelane", database_url, limits, subject))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def standing(store):
    """Used and held on a limit's line."""

    def look(name, subject=SUBJECT):
        now = clock_of(store).now()
        found = cells(f"local/rate.{name}@{subject}", WINDOWS[name], now)
        with store.read() as connection:
            balance = ledger.glance(connection, found, now)[found[0]]
        return balance.used, balance.held

    return look


def answered(rates, most=1000):
    """How many requests are answered until one is refused."""
    for number in range(most):
        try:
            rates.take().end()
        except RateExceeded:
            return number
    return most


def test_no_more_than_the_limit_is_answered(count, standing):
    one = count(minute=20, day=1000)
    assert answered(one.server()) == 20
    one.rates[0].close()
    one.end()
    assert standing("minute") == (20, 0)
    assert standing("day") == (20, 0)


def test_the_tightest_of_several_limits_refuses(count):
    one = count(minute=50, hour=7, month=100)

    rates = one.server()

    assert answered(rates) == 7
    with pytest.raises(RateExceeded) as refused:
        rates.take()
    assert refused.value.details == {
        "quota_id": "local/rate.hour@owner/digits",
        "limit": 7,
        "window": "1 h, sliding",
    }
    assert (
        refused.value.headers.items()
        >= {
            "x-ratelimit-limit": "7",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-remaining-hour": "0",
            "x-ratelimit-remaining-minute": "43",
            "x-ratelimit-remaining-month": "93",
        }.items()
    )
    assert 3500 < int(refused.value.headers["Retry-After"]) <= 3600


def test_servers_in_a_row_and_counters_in_a_row_share_one_count(count):
    one = count(day=30)
    first = one.server()
    for _ in range(10):
        first.take().end()
    second = one.server()  # the first was killed
    for _ in range(5):
        second.take().end()
    second.close()
    one.end()

    other = count(day=30)

    # What the first had been granted at its end counts as used.
    assert 12 <= answered(other.server()) <= 15


def test_two_counters_of_one_endpoint_never_answer_more_than_the_limit(count):
    ones = [count(minute=40) for _ in range(3)]
    found = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(answered(one.server())))
        for one in ones
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 36 <= sum(found) <= 40


def test_two_endpoints_share_nothing(count):
    one, other = count(minute=3), count("owner/other", minute=3)

    assert (answered(one.server()), answered(other.server())) == (3, 3)


def test_a_killed_counter_forgets_nothing(count):
    one = count(day=12)
    rates = one.server()
    for _ in range(6):
        rates.take().end()

    one.kill()
    one.start()

    # What it had leased may count as used: never more than the limit, a little less at most.
    assert 0 <= answered(rates) <= 6


def test_nothing_is_answered_while_nobody_counts(count):
    one = count(minute=100)
    one.server().take().end()  # by now it has come up
    rates = one.server(patience_s=1.0)
    rates.take().end()
    one.kill()
    time.sleep(FOR_S + 0.1)  # what was granted may be used until its time is over

    with pytest.raises(Unavailable, match="nobody counts"):
        rates.take()


def test_it_ends_with_its_supervisor(count):
    one = count(minute=5)
    one.server().take().end()

    one.end()

    assert one.process.returncode == 0


def test_told_to_end_it_gives_back_what_it_has(count, standing):
    one = count(day=1000)
    one.server().take().end()

    one.process.terminate()
    one.process.wait(10)

    used, held = standing("day")
    assert held == 0
    assert used <= 1


def test_a_question_that_nobody_waits_for_is_not_answered(count, standing):
    one = count(minute=5)
    stale = {"id": "x", "want": 1, "until": time.monotonic() - 1, "done": []}
    one.servers.send(json.dumps(stale).encode())
    assert answered(one.server()) == 5


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b"[" * LARGEST_MESSAGE,
        b'{"want": "many", "until": 1e300}',
        b'{"want": true, "until": 1e300}',
        b'{"want": -5, "until": 1e300}',
        b'{"want": 1, "until": "soon"}',
        b'{"done": [["none", 1], [1, 2], "x", [["y"], 1]]}',
    ],
)
def test_rubbish_changes_nothing(tmp_path, rubbish):
    one = Counted(tmp_path / "freelane", None, {"minute": 3})
    try:
        one.servers.send(rubbish)
        assert answered(one.server()) == 3
    finally:
        one.close()


def test_a_database_that_is_gone_is_said_without_its_password(tmp_path):
    url = "postgresql://me:hunter2-secret@127.0.0.1:9/none"
    one = Counted(tmp_path, url, {"minute": 3})
    try:
        with pytest.raises(Unavailable, match="cannot be counted now"):
            one.server().take()
        words = " ".join(map(str, one.words))
        said = one.end()
        assert "127.0.0.1:9" in said
        assert "hunter2" not in said + words
    finally:
        one.close()
