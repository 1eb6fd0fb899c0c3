"""Several processes at one limit, on both databases."""

import json
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from freelane.errors import StateError
from freelane.quota import ledger
from freelane.quota.cell import Balance, Cell, Hold
from freelane.quota.ledger import LineFull, audit
from freelane.store.engine import open_store

LEASE = timedelta(minutes=1)

RIVAL = """
import json, random, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from freelane.quota import ledger
from freelane.quota.cell import Cell, Hold
from freelane.store.engine import open_store

url, folder, name, cells = json.loads(sys.argv[1])
cells = [Cell(*cell) for cell in cells]
store = open_store(url, Path(folder))
now = datetime(2026, 11, 22, 12, tzinfo=UTC)
granted = 0
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    lines = [Hold(cell, 1, 60) for cell in cells]
    random.shuffle(lines)
    try:
        with store.begin() as c:
            key, lease = f"{name} {n}", timedelta(minutes=1)
            one = ledger.reserve(c, lines, key=key, request="", lease=lease, now=now, sent=True)
    except ledger.LineFull:
        continue
    granted += 1
    with store.begin() as c:
        ledger.settle(c, one.id, now)
print(granted, flush=True)
"""


def test_four_processes_are_granted_exactly_the_limit(
    store, database_url, tmp_path, day, minute, noon, do
):
    other = Cell("gemini/tokens-per-day", day.start)
    cells = [(c.key, c.start, c.slide) for c in (other, minute, day)]
    rivals = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                RIVAL,
                json.dumps([database_url, str(tmp_path / "freelane"), name, cells]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    granted = [int(rival.communicate(timeout=60)[0]) for rival in rivals]
    assert sum(granted) == 60
    balances = do(ledger.balances, [day, minute, other], noon)
    assert set(balances.values()) == {Balance(used=60)}
    assert do(audit.rebuild, noon) == []


def test_two_processes_with_one_key_get_one_grant(new_store, day, noon):
    """On PostgreSQL the second waits for the first to commit, on SQLite for its whole turn."""
    first, second = new_store(), new_store()
    answers = []

    def repeat():
        with second.begin() as c:
            answers.append(reserve_one(c, day, noon))

    with first.begin() as c:
        answers.append(reserve_one(c, day, noon))
        thread = threading.Thread(target=repeat)
        thread.start()
        thread.join(0.2)
    thread.join()
    assert answers[0].id == answers[1].id
    with first.read() as c:
        assert ledger.glance(c, [day], noon)[day] == Balance(held=7)


def test_what_is_found_under_lock_neither_lapses_nor_is_given_back_meanwhile(
    new_store, reserve, day, noon
):
    reserved = reserve(day, 7, key="k")
    first, second = new_store(), new_store()
    closed = []

    def close():
        with second.begin() as c:
            closed.extend(ledger.expire(c, noon + LEASE))

    thread = threading.Thread(target=close)
    with first.begin() as c:
        assert ledger.find(c, "k", lock=True) == reserved
        thread.start()
        thread.join(0.2)
        assert closed == []
        ledger.heartbeat(c, reserved.id, 2 * LEASE, noon)
    thread.join()
    assert closed == []


def reserve_one(c, cell, now):
    return ledger.reserve(c, [Hold(cell, 7, 10)], key="k", request="r", lease=LEASE, now=now)


def test_what_slid_out_is_taken_off_once_by_two_who_see_it(
    new_store, reserve, minute, do, noon, glance
):
    for _ in range(2):
        do(ledger.settle, reserve(minute, 4).id, noon)
    first, second = new_store(), new_store()
    later = noon + LEASE

    def use_one(store, key):
        with store.begin() as c:
            hold = Hold(minute, 1, 10)
            ledger.reserve(c, [hold], key=key, request="", lease=LEASE, now=later)
            if store is first:
                thread.start()
                thread.join(0.2)

    thread = threading.Thread(target=use_one, args=(second, "second"))
    use_one(first, "first")
    thread.join()
    assert do(audit.rebuild, later) == []
    assert glance(minute, later) == Balance(held=2)


def test_what_lapsed_is_posted_once_by_all_who_expire_at_the_same_time(
    new_store, reserve, day, noon, glance
):
    for _ in range(50):
        reserve(day, 1, limit=None, sent=True)
    stores = [new_store() for _ in range(4)]
    start = threading.Barrier(4)
    posted = []

    def expire(store):
        start.wait()
        for _ in range(30):
            with store.begin() as c:
                posted.extend(one.id for one in ledger.expire(c, noon + LEASE, at_most=5))

    threads = [threading.Thread(target=expire, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Nobody waits, so a row that one had locked without its counter may have been left by all.
    with stores[0].begin() as c:
        posted.extend(one.id for one in ledger.expire(c, noon + LEASE))
    assert len(posted) == len(set(posted)) == 50
    assert glance(day) == Balance(used=50)


def test_expiring_does_a_bounded_amount_of_work(reserve, day, do, noon):
    for _ in range(5):
        reserve(day, 1)
    assert len(do(ledger.expire, noon + LEASE, at_most=3)) == 3
    assert len(do(ledger.expire, noon + LEASE, at_most=3)) == 2


def test_more_lapsed_reservations_than_are_expired_at_once_do_not_stand_in_the_way(
    store, day, noon, glance
):
    with store.begin() as c:
        for n in range(150):
            holds = [Hold(day, 1, 150)]
            ledger.reserve(c, holds, key=f"{n}", request="", lease=LEASE, now=noon)
    with store.begin() as c:
        holds = [Hold(day, 150, 150)]
        ledger.reserve(c, holds, key="all", request="", lease=LEASE, now=noon + LEASE)
    assert glance(day, noon + LEASE) == Balance(held=150)


def test_a_commit_whose_answer_was_lost_is_found_again_by_its_key(
    postgres_url, postgres_server, tmp_path, day, noon
):
    """Whatever became of the first COMMIT, the same key holds the amount once."""

    store = open_store(postgres_url, tmp_path)
    with pytest.raises(StateError, match="may or may not"), store.begin() as c:  # noqa: PT012
        reserve_one(c, day, noon)
        pid = c.scalar(text("SELECT pg_backend_pid()"))
        postgres_server.admin(f"SELECT pg_terminate_backend({pid}, 5000)")
    for _ in range(2):
        with store.begin() as c:
            reserve_one(c, day, noon)
    with store.read() as c:
        assert ledger.glance(c, [day], noon)[day] == Balance(held=7)
    store.close()


def test_transactions_that_want_the_same_lines_in_any_order_never_deadlock(
    new_store, day, minute, noon
):
    other = Cell("gemini/tokens-per-day", day.start)
    stores = [new_store() for _ in range(4)]
    start, errors = threading.Barrier(4), []

    def hammer(store, number):
        start.wait()
        cells = [day, minute, other] if number % 2 else [other, minute, day]
        try:
            for n in range(15):
                with store.begin() as c:
                    if number < 2:
                        ledger.balances(c, cells, noon)
                    lines = [Hold(cell, 1, 1_000) for cell in cells]
                    key = f"{number} {n}"
                    one = ledger.reserve(c, lines, key=key, request="", lease=LEASE, now=noon)
                with store.begin() as c:
                    ledger.settle(c, one.id, noon)
        except (StateError, LineFull) as error:
            errors.append(error)

    threads = [threading.Thread(target=hammer, args=(s, n)) for n, s in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with stores[0].read() as c:
        assert {b.used for b in ledger.glance(c, [day, minute, other], noon).values()} == {60}
