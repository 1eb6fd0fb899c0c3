"""How many workers stand, and when: load failures, more of them, fewer, none, newer ones."""

import asyncio
import os
import signal
import time

import psutil
import pytest
import uvloop


def run(coroutine):
    """On the server's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (
            'send(Kind.FAILED, 0, b\'{"error": "no such file"}\'); sys.exit(3)',
            "no such file",
        ),
        ("sys.exit(2)", "the worker ended with exit code 2 before the model was loaded"),
        ("os.kill(os.getpid(), 11)", "signal 11 ended the worker while it loaded the model"),
        ("time.sleep(60)", "the model was not loaded within 0.5 s"),
        (
            "channel.close(); time.sleep(60)",
            "the worker closed its channel before the model was loaded",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_even_once_is_final(running, load, reason):
    async def story():
        timeout = 0.5 if "sleep(60)" in load and "close" not in load else 60
        async with running(load=load, wait=False, start_timeout_s=timeout) as pool:
            _, early = pool.submit(1)
            await pool.until(lambda: pool.failed)
            assert pool.failed == [reason]
            assert early.problem.status == 503
            assert (await pool.answer(1)).problem.status == 503
            assert pool.seen.starts == 1

    run(story())


def test_an_interpreter_that_is_not_there_is_a_load_failure(running):
    async def story():
        async with running(python="/nonexistent/python") as pool:
            assert pool.failed == ["no worker can be started: No such file or directory"]

    run(story())


def test_a_request_that_comes_before_the_model_is_loaded_waits_for_it(running):
    async def story():
        async with running(load="time.sleep(0.3)", wait=False) as pool:
            assert (await pool.answer(1)).document

    run(story())


def test_a_later_load_failure_is_tried_again(running, tmp_path):
    flag = tmp_path / "broken"

    async def story():
        async with running(load=f"if os.path.exists({str(flag)!r}): sys.exit(4)") as pool:
            flag.touch()
            os.kill(pool.pool.pids()[0], signal.SIGKILL)
            await pool.until(lambda: pool.seen.ends)
            heard = await pool.answer(1)
            assert heard.problem.status == 503  # told, after some tries, rather than kept waiting
            flag.unlink()
            assert (await pool.answer(1)).document
            assert pool.failed == []

    run(story())


def test_a_worker_is_added_where_requests_wait_and_dropped_when_nobody_asks(running):
    async def story():
        async with running(workers_max=2, park_after_s=0.5) as pool:
            _, busy = pool.submit({"sleep": 1.5})
            _, other = pool.submit({"pid": 1})
            await other.over.wait()
            assert not busy.over.is_set()
            assert pool.seen.starts == 2
            await busy.over.wait()
            await pool.until(lambda: pool.seen.ends == ["surplus"])
            assert pool.pool.states() == {"starting": 0, "idle": 1, "busy": 0, "closing": 0}

    run(story())


def test_no_more_workers_are_added_than_allowed(running):
    async def story():
        async with running() as pool:
            _, busy = pool.submit({"sleep": 0.6})
            _, other = pool.submit(1)
            await asyncio.gather(busy.over.wait(), other.over.wait())
            assert pool.seen.starts == 1

    run(story())


def test_a_parked_model_has_no_process_and_wakes_for_the_next_request(running):
    async def story():
        before = psutil.Process().children()
        async with running(workers_min=0, park_after_s=0.3) as pool:
            assert (await pool.answer(1)).document
            await pool.until(lambda: pool.pool.is_parked and pool.seen.ends == ["parked"])
            await pool.until(lambda: set(psutil.Process().children()) <= set(before))
            assert pool.pool.hello is not None
            assert (await pool.answer(2)).document["predictions"] == [2]
            assert pool.seen.starts == 2

    run(story())


def test_a_worker_that_dies_while_nobody_asks_stays_away_until_somebody_does(running):
    async def story():
        async with running(workers_min=0) as pool:
            os.kill(pool.pool.pids()[0], signal.SIGKILL)
            await pool.until(lambda: pool.pool.is_parked)
            assert (await pool.answer(2)).document

    run(story())


def test_a_worker_that_holds_too_much_is_replaced_with_no_request_failing(running, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.workers.pool._MEMORY_S", 0.1)

    async def story():
        async with running(worker_memory_bytes=100 * 2**20) as pool:
            old = (await pool.answer({"pid": 1})).document["predictions"][0]
            assert (await pool.answer({"grow": 150})).document
            give_up = time.monotonic() + 10
            while (await pool.answer({"pid": 1})).document["predictions"][0] == old:
                assert time.monotonic() < give_up
                await asyncio.sleep(0.01)
            await pool.until(lambda: pool.seen.ends == ["memory"])
            assert not psutil.pid_exists(old)

    run(story())


def test_a_model_larger_than_the_limit_is_not_loaded_again_and_again(running, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.workers.pool._MEMORY_S", 0.05)

    async def story():
        async with running(worker_memory_bytes=2**20) as pool:
            await asyncio.sleep(0.5)
            assert (await pool.answer(1)).document
            assert pool.seen.starts == 1

    run(story())


def test_workers_that_end_leave_no_descriptor_open(running):
    async def story():
        async with running() as pool:
            before = psutil.Process().num_fds()
            for _ in range(5):
                old = pool.pool.pids()[0]
                os.kill(old, signal.SIGKILL)
                await pool.until(lambda old=old: old not in pool.pool.pids())
                assert (await pool.answer(1)).document
            await pool.until(lambda: psutil.Process().num_fds() == before)

    run(story())


def test_a_worker_that_is_stopped_is_one_that_hangs(running):
    async def story():
        async with running(timeout_s=0.5) as pool:
            os.kill(pool.pool.pids()[0], signal.SIGSTOP)
            assert (await pool.answer(1)).problem.status == 504
            assert (await pool.answer(2)).document
            assert pool.seen.ends == ["timeout"]

    run(story())


def test_draining_answers_what_is_under_way_and_refuses_what_comes(running):
    async def story():
        async with running() as pool:
            _, busy = pool.submit({"sleep": 0.3})
            _, queued = pool.submit(1)
            draining = asyncio.ensure_future(pool.pool.drain(10.0))
            await asyncio.sleep(0)
            assert (await pool.answer(2)).problem.status == 503
            await draining
            assert busy.document
            assert queued.document
            assert pool.pool.pids() == []

    run(story())


def test_draining_ends_with_its_grace(running):
    async def story():
        async with running() as pool:
            _, busy = pool.submit({"sleep": 60})
            _, queued = pool.submit(1)
            await pool.pool.drain(0.2)
            assert busy.problem.status == 503
            assert queued.problem.status == 503

    run(story())
