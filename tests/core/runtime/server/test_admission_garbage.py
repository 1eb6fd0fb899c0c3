"""What a request leaves behind: nothing that only a collection would find."""

import gc
import time
import weakref

import pytest

from freelane.runtime.portable.frames import Kind
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.batching import Queue, answer


class Answered(Listener):
    """Knows whom it answers, as routes' listeners do."""

    def __init__(self, exchange):
        self.exchange = exchange

    def done(self, payload):
        self.exchange.told = payload

    def failed(self, problem):
        raise problem


class Waiting:
    """An exchange, as far as the admission is concerned."""

    on_gone = None
    told = None
    is_gone = False


class Model:
    """Answers what it is asked when it is told to."""

    hello = None

    def __init__(self):
        self.queue = Queue(max_queue=8, max_batch_size=8)

    def submit(self, ask):
        self.queue.put(ask)

    def cancel(self, ask):
        self.queue.cancel(ask)

    def run(self):
        for ask in self.queue.take(time.monotonic()):
            answer(ask, b"{}")


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_request_is_let_go_with_its_answer(no_collection):
    model, exchange = Model(), Waiting()
    admission = Admission(model, timeout_s=1.0)
    ask = Ask(Kind.ROWS, b"1", Answered(exchange), time.monotonic() + 1, rows=1, key="k")
    admission.ask(exchange, ask)
    model.run()
    assert exchange.told == b"{}"
    admission.finished(exchange)
    gone = weakref.ref(exchange)
    del ask, exchange
    assert gone() is None


def test_who_hangs_up_is_cancelled():
    model, exchange = Model(), Waiting()
    admission = Admission(model, timeout_s=1.0)
    ask = Ask(Kind.ROWS, b"1", Answered(exchange), time.monotonic() + 1, rows=1, key="k")
    admission.ask(exchange, ask)
    exchange.on_gone()
    model.run()
    assert ask.is_over
    assert exchange.told is None
