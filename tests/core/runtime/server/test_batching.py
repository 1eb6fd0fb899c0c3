"""Which asks become the next call, and how long a batch is held back for more."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import Unavailable
from freelane.runtime.server import batching
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.batching import Gathering, Queue, answer, end, fail, item


class Heard(Listener):
    def __init__(self):
        self.told = []

    def done(self, payload):
        self.told.append(payload)

    def failed(self, problem):
        self.told.append(problem)

    def item(self, payload):
        self.told.append(payload)
        return False

    def ended(self, payload):
        self.told.append(payload)


def ask_of(key="k", *, rows=1, deadline=100.0, payload=b"1"):
    return Ask(Kind.ROWS, payload, Heard(), deadline, rows=rows, key=key)


def queue_of(*asks, max_queue=1024, max_batch_size=64):
    queue = Queue(max_queue=max_queue, max_batch_size=max_batch_size)
    for ask in asks:
        queue.put(ask)
    return queue


def told(ask):
    return ask.listener.told


def test_the_oldest_takes_those_of_its_key_along_in_their_order():
    a, b, c, d = ask_of("x"), ask_of("y"), ask_of("x"), ask_of("y")
    queue = queue_of(a, b, c, d)
    assert queue.take(0) == [a, c]
    assert queue.take(0) == [b, d]
    assert queue.take(0) == []


def test_an_ask_without_a_key_runs_alone():
    a, b = ask_of(None), ask_of(None)
    queue = queue_of(a, b)
    assert queue.take(0) == [a]
    assert queue.take(0) == [b]


def test_a_model_that_takes_one_request_at_a_time_is_given_one():
    a, b = ask_of(rows=0), ask_of(rows=0)
    queue = queue_of(a, b)
    assert queue.take(0, alone=True) == [a]
    assert queue.take(0, alone=True) == [b]


def test_a_batch_has_no_more_rows_than_allowed():
    asks = [ask_of(rows=3) for _ in range(5)]
    queue = queue_of(*asks, max_batch_size=8)
    assert queue.take(0) == asks[:2]
    assert queue.take(0) == asks[2:4]
    assert queue.take(0) == asks[4:]


def test_a_request_with_more_rows_than_a_batch_is_a_call_of_its_own():
    large, small = ask_of(rows=500), ask_of()
    queue = queue_of(large, small)
    assert queue.take(0) == [large]
    assert queue.take(0) == [small]


def test_a_batch_stays_within_the_bytes_of_a_frame(monkeypatch):
    monkeypatch.setattr(batching, "LARGEST_BATCH_BYTES", 10)
    asks = [ask_of(payload=b"1" * 6) for _ in range(2)]
    queue = queue_of(*asks)
    assert queue.take(0) == asks[:1]


def test_a_full_queue_refuses_and_keeps_what_it_has():
    kept, refused = ask_of(), ask_of()
    queue = queue_of(kept, refused, max_queue=1)
    assert told(refused)[0].status == 429
    assert told(refused)[0].headers == {"Retry-After": "1"}
    assert queue.take(0) == [kept]


def test_a_queue_is_bounded_in_bytes_too_but_takes_one_of_any_size(monkeypatch):
    monkeypatch.setattr(batching, "LARGEST_QUEUE_BYTES", 10)
    large, refused = ask_of(payload=b"1" * 50), ask_of()
    queue = queue_of(large, refused)
    assert told(refused)[0].status == 429
    assert queue.take(0) == [large]
    assert queue.put(ask_of())


def test_who_waited_too_long_fails_on_the_way_and_is_not_run():
    late, good, late_too = ask_of(deadline=5), ask_of(), ask_of(deadline=5)
    queue = queue_of(late, good, late_too)
    assert queue.take(5) == [good]
    assert [told(ask)[0].status for ask in (late, late_too)] == [504, 504]
    assert not late.is_run
    assert len(queue) == 0


def test_expiring_fails_exactly_those_whose_time_is_over():
    late, good = ask_of(deadline=5), ask_of(deadline=6)
    queue = queue_of(late, good)
    queue.expire(5)
    assert told(late)[0].type == "timeout"
    assert list(queue) == [good]


def test_what_is_cancelled_vanishes_untold():
    a, b, c = ask_of(), ask_of(), ask_of()
    queue = queue_of(a, b, c)
    queue.cancel(a)
    queue.cancel(b)
    assert len(queue) == 1
    assert queue.take(0) == [c]
    assert told(a) == told(b) == []


def test_what_was_cancelled_is_let_go_while_the_model_hangs():
    queue = queue_of()
    tracemalloc.start()
    for _ in range(2000):
        ask = ask_of(payload=bytes(10_000))
        queue.put(ask)
        queue.cancel(ask)
        del ask
    queue.expire(0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000


def test_all_that_wait_can_be_failed_at_once():
    a, b = ask_of(), ask_of("y")
    queue = queue_of(a, b)
    queue.fail_all(Unavailable("over"))
    assert [told(ask)[0].status for ask in (a, b)] == [503, 503]
    assert not queue


def test_a_listener_that_asks_again_when_it_is_told_finds_the_queue_whole():
    late = ask_of(deadline=5)
    again = ask_of()
    queue = queue_of(late)
    late.listener.failed = lambda _: queue.put(again)
    queue.expire(5)
    assert queue.take(5) == [again]


def test_each_is_told_once():
    ask = ask_of()
    answer(ask, b"first")
    answer(ask, b"second")
    fail(ask, Unavailable("third"))
    end(ask, b"fourth")
    assert item(ask, b"fifth")
    assert told(ask) == [b"first"]


@pytest.mark.parametrize("tell", [answer, end, item])
def test_a_listener_that_raises_is_told_of_in_the_log_alone(tell, capfd):
    ask = ask_of()
    ask.listener = None
    tell(ask, b"")
    assert ask.is_over
    assert "AttributeError" in capfd.readouterr().err


@pytest.mark.parametrize("tell", [answer, end, fail])
def test_who_cannot_be_told_what_came_is_told_that_it_failed(tell, capfd):
    class Choosy(Heard):
        def __getattribute__(self, name):
            if name in {"done", "ended"}:
                raise KeyError("a bug")
            return super().__getattribute__(name)

        def failed(self, problem):
            if problem.status != 500:
                raise KeyError("a bug")
            super().failed(problem)

    ask = ask_of()
    ask.listener = Choosy()
    tell(ask, Unavailable("no words for it") if tell is fail else b"")
    assert [problem.status for problem in told(ask)] == [500]
    assert "a bug" in capfd.readouterr().err


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "cancel", "expire"]),
            st.sampled_from(["x", "y", None]),
            st.integers(0, 5),
            st.integers(0, 60),
        ),
        max_size=60,
    ),
)
def test_every_ask_is_run_once_or_told_once_and_never_both(steps):
    queue = queue_of(max_queue=8, max_batch_size=6)
    asks, run, cancelled = [], [], []
    for now, (step, key, rows, number) in enumerate(steps):
        if step == "put":
            asks.append(ask_of(key, rows=rows, deadline=now + number))
            queue.put(asks[-1])
        elif step == "take":
            batch = queue.take(now)
            assert len({ask.key for ask in batch}) <= 1
            assert len(batch) <= 1 or sum(ask.rows for ask in batch) <= 6
            assert len(batch) <= 1 or batch[0].key is not None
            run += batch
        elif step == "expire":
            queue.expire(now)
        else:
            waiting = list(queue)
            if waiting:
                cancelled.append(waiting[number % len(waiting)])
                queue.cancel(cancelled[-1])
    for ask in asks:
        fates = [run.count(ask), len(told(ask)), cancelled.count(ask), list(queue).count(ask)]
        assert sum(fates) == 1
    assert len(queue) == len(list(queue))


def test_a_batch_is_held_back_at_most_a_quarter_of_the_last_ones_time():
    gathering = Gathering(64)
    gathering.answered(50, 0.004, 0, now=1.0)
    held = [gathering.waits(n, 1.0 + n / 10_000) for n in range(20)]
    assert held == [True] * 10 + [False] * 10


def test_it_goes_as_soon_as_as_many_wait_as_there_are_callers():
    gathering = Gathering(64)
    gathering.answered(10, 4.0, 2, now=100.0)
    assert gathering.waits(11, 100.0001)
    assert not gathering.waits(12, 100.0001)


def test_it_goes_when_no_more_come():
    gathering = Gathering(64)
    gathering.answered(10, 4.0, 0, now=100.0)
    assert gathering.waits(1, 100.0002)
    assert gathering.waits(1, 100.0004)
    assert not gathering.waits(1, 100.0006)


def test_no_more_are_waited_for_than_fit():
    gathering = Gathering(16)
    gathering.answered(16, 4.0, 40, now=100.0)
    assert not gathering.waits(40, 100.0)


def test_nobody_waits_after_one_callers_request():
    gathering = Gathering(64)
    gathering.answered(10, 4.0, 0, now=100.0)
    gathering.answered(1, 4.0, 0, now=100.0)
    assert not gathering.waits(0, 100.0)
