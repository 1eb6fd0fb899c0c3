"""An endpoint's rate, counted on the ledger by its server: never more than the limit."""

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from freelane.errors import StateError
from freelane.quota import ledger
from freelane.quota.window import cells
from freelane.runtime.portable.problems import Problem, RateExceeded, Unavailable
from freelane.runtime.portable.rates import Ticket
from freelane.runtime.server.order import RateOrder
from freelane.runtime.server.rates import WINDOWS, LedgerRates
from freelane.store.clock import clock_of

SUBJECT = "owner/digits"


class Counter:
    """One server's rates, from inside its loop."""

    def __init__(self, rates):
        self.rates = rates

    def ask(self):
        """A request: a future of its ticket, or of the problem."""
        future = asyncio.get_running_loop().create_future()
        self.rates.take(future.set_result)
        return future

    async def take(self):
        return await self.ask()

    async def answered(self, most=1000):
        """How many requests are answered until one is refused."""
        for number in range(most):
            found = await self.take()
            if isinstance(found, Problem):
                assert isinstance(found, RateExceeded), found
                return number
            found.end()
        return most


@pytest.fixture
def serve(tmp_path, database_url, store):
    """Runs a coroutine function with the counter of a server of its own."""

    def run(work, *, subject=SUBJECT, url=database_url, folder="freelane", **limits):
        order = RateOrder(
            folder=str(tmp_path / folder),
            provider="local",
            emulated=False,
            subject=subject,
            **limits,
        )

        async def main():
            rates = LedgerRates(order, url=url)
            await rates.start()
            try:
                return await work(Counter(rates))
            finally:
                await rates.close()

        return asyncio.run(main())

    return run


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


def test_no_more_than_the_limit_is_answered(serve, standing):
    assert serve(Counter.answered, minute=20, day=1000) == 20

    assert standing("minute") == (20, 0)
    assert standing("day") == (20, 0)


def test_the_tightest_of_several_limits_refuses(serve):
    async def work(counter):
        assert await counter.answered() == 7
        return await counter.take()

    refused = serve(work, minute=50, hour=7, month=100)

    assert refused.details == {
        "quota_id": "local/rate.hour@owner/digits",
        "limit": 7,
        "window": "1 h, sliding",
    }
    assert (
        refused.headers.items()
        >= {
            "x-ratelimit-limit": "7",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-remaining-hour": "0",
            "x-ratelimit-remaining-minute": "43",
            "x-ratelimit-remaining-month": "93",
        }.items()
    )
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600


def test_an_answer_says_what_is_left(serve):
    async def work(counter):
        return [(await counter.take()).headers for _ in range(3)]

    first, second, third = serve(work, minute=5, day=40)

    assert [told["x-ratelimit-remaining"] for told in (first, second, third)] == ["4", "3", "2"]
    assert [told["x-ratelimit-remaining-day"] for told in (first, third)] == ["39", "37"]
    assert first["x-ratelimit-limit-minute"] == "5"
    assert 0 < int(first["x-ratelimit-reset-day"]) <= 86_400


def test_what_memory_holds_is_granted_at_once(serve):
    async def work(counter):
        (await counter.take()).end()
        futures = [counter.ask() for _ in range(5)]
        return [future.done() for future in futures]

    assert serve(work, day=100_000) == [True] * 5


def test_requests_that_come_together_are_one_lease(serve):
    async def work(counter):
        found = await asyncio.gather(*[counter.ask() for _ in range(200)])
        for ticket in found:
            ticket.end()
        return len(found)

    assert serve(work, day=100_000) == 200


def test_requests_that_come_together_get_no_more_than_the_limit(serve, standing):
    async def work(counter):
        found = await asyncio.gather(*[counter.ask() for _ in range(100)])
        return sum(isinstance(each, Ticket) for each in found)

    assert serve(work, minute=30) == 30
    assert standing("minute") == (30, 0)


def test_a_request_that_never_came_to_the_model_is_not_counted(serve, standing):
    async def work(counter):
        for _ in range(30):
            (await counter.take()).give_back()
        return await counter.answered()

    assert serve(work, minute=10) == 10
    assert standing("minute") == (10, 0)


def test_a_request_under_way_at_the_end_counts_and_may_be_settled_later(serve, standing):
    async def work(counter):
        return await counter.take()

    ticket = serve(work, day=1000)

    assert standing("day") == (1, 0)
    ticket.give_back()
    ticket.end()
    assert standing("day") == (1, 0)


def test_servers_in_a_row_share_one_count(serve):
    async def work(counter):
        for _ in range(10):
            (await counter.take()).end()

    serve(work, day=30)
    serve(work, day=30)

    assert serve(Counter.answered, day=30) == 10


def test_servers_at_the_same_time_never_answer_more_than_the_limit(serve):
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: serve(Counter.answered, minute=40), range(3)))

    assert 36 <= sum(found) <= 40


def test_two_endpoints_share_nothing(serve):
    assert serve(Counter.answered, minute=3) == 3
    assert serve(Counter.answered, minute=3, subject="owner/other") == 3


def test_a_killed_server_forgets_nothing(serve, tmp_path, database_url, standing):
    script = """
        import asyncio, os, sys
        from freelane.runtime.server.order import RateOrder
        from freelane.runtime.server.rates import LedgerRates
        async def main():
            order = RateOrder(
                folder=sys.argv[1], provider="local", emulated=False, subject="owner/digits", day=60
            )
            rates = LedgerRates(order, url=os.environ.get("FREELANE_DATABASE_URL"))
            await rates.start()
            for _ in range(6):
                future = asyncio.get_running_loop().create_future()
                rates.take(future.set_result)
                (await future).end()
            os.kill(os.getpid(), 9)
        asyncio.run(main())
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("FREELANE_")}
    env |= {"FREELANE_DATABASE_URL": database_url} if database_url else {}
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "freelane")]
    assert subprocess.run(words, env=env).returncode == -9
    used, held = standing("day")
    assert used + held >= 6

    # What it had leased may count as used: never more than the limit, a block less at most.
    assert 60 - 6 - 8 <= serve(Counter.answered, day=60) <= 60 - 6


def test_a_refusal_is_not_asked_for_again_at_once(serve, monkeypatch):
    async def work(counter):
        await counter.answered()
        asked = counter.rates._books.take
        calls = []

        def counted(uses):
            calls.append(uses)
            return asked(uses)

        monkeypatch.setattr(counter.rates._books, "take", counted)
        found = [await counter.take() for _ in range(20)]
        assert all(isinstance(each, RateExceeded) for each in found)
        assert len({id(each) for each in found}) == 20  # each has a traceback of its own
        return len(calls)

    assert serve(work, minute=5) == 0


def test_a_database_that_is_gone_refuses_and_says_so_without_its_password(tmp_path, capfd):
    url = "postgresql://me:hunter2-secret@127.0.0.1:9/none"
    order = RateOrder(
        folder=str(tmp_path), provider="local", emulated=False, subject=SUBJECT, minute=3
    )

    async def main():
        rates = LedgerRates(order, url=url)
        await rates.start()
        counter = Counter(rates)
        found = [await counter.take() for _ in range(3)]
        await rates.close()
        return found

    found = asyncio.run(main())

    assert all(isinstance(each, Unavailable) for each in found)
    assert found[0].headers == {"Retry-After": "1"}
    said = capfd.readouterr().err
    assert "127.0.0.1:9" in said
    assert "hunter2" not in said
    assert said.count("cannot be counted") == 1


@pytest.fixture
def hung(tmp_path, monkeypatch):
    """Rates whose database does not answer until the test lets it."""

    def run(work, *, patience_s=0.1):
        order = RateOrder(
            folder=str(tmp_path), provider="local", emulated=False, subject=SUBJECT, day=1000
        )

        async def main():
            rates = LedgerRates(order, url=None, patience_s=patience_s)
            await rates.start()
            books, hangs = rates._books, [True]
            ask = books.take

            def take(uses):
                while hangs:
                    time.sleep(0.01)
                return ask(uses)

            monkeypatch.setattr(books, "take", take)
            try:
                return await work(Counter(rates), hangs.clear)
            finally:
                hangs.clear()
                rates._patience_s = 10.0
                await rates.close()

        return asyncio.run(main())

    return run


def test_a_database_that_hangs_refuses_and_holds_up_nobody(hung):
    async def work(counter, _go_on):
        began = time.monotonic()
        first = await counter.take()
        second = counter.ask()
        assert second.done(), "others are told at once"
        assert isinstance(first, Unavailable)
        assert isinstance(second.result(), Unavailable)
        return time.monotonic() - began

    assert 0.1 <= hung(work) < 2


def test_once_the_database_answers_again_requests_are_counted_again(hung):
    async def work(counter, go_on):
        assert isinstance(await counter.take(), Unavailable)
        go_on()
        counter.rates._patience_s = 10.0
        give_up = time.monotonic() + 5
        while not isinstance(found := await counter.take(), Ticket):
            assert time.monotonic() < give_up, found
            await asyncio.sleep(0.02)
        told = found.headers["x-ratelimit-remaining"]
        found.end()
        return told

    assert hung(work) == "999", "what was granted to who had given up came back"


def test_after_its_end_nothing_is_counted(serve):
    async def work(counter):
        await counter.rates.close()
        return await counter.take()

    assert isinstance(serve(work, minute=3), Unavailable)


def test_a_lease_that_fails_midway_is_refused_and_tried_anew(serve, monkeypatch):
    async def work(counter):
        books = counter.rates._books
        take = books._opened()[1].take
        monkeypatch.setattr(
            books._spender,
            "take",
            lambda _: (_ for _ in ()).throw(StateError("database is locked")),
        )
        assert isinstance(await counter.take(), Unavailable)
        monkeypatch.setattr(books._spender, "take", take)
        await asyncio.sleep(0.55)
        return await counter.take()

    assert isinstance(serve(work, minute=3), Ticket)
