"""Workers as their callers see them: answers, and what becomes of those who cannot be answered."""

import asyncio
import json
import os
import signal
import time

import psutil
import pytest
import uvloop

from freelane.runtime.portable.frames import Kind


def run(coroutine):
    """On the server's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def test_a_request_is_answered_with_its_own_document(running):
    async def story():
        async with running() as pool:
            assert (await pool.answer(1, 2)).document == {"predictions": [1, 2], "batch": 1}

    run(story())


def test_what_waits_while_the_worker_is_busy_becomes_one_call(running):
    async def story():
        async with running() as pool:
            _, first = pool.submit({"sleep": 0.2})
            others = [pool.submit(n, n)[1] for n in range(5)]
            await asyncio.gather(*(heard.over.wait() for heard in (first, *others)))
            assert pool.seen.batches == [(1, 1), (10, 5)]
            assert [h.document["predictions"] for h in others] == [[n, n] for n in range(5)]

    run(story())


def test_a_model_that_turns_out_to_take_one_request_at_a_time_is_given_one(running):
    async def story():
        async with running() as pool:
            await pool.answer({"alone": 1})
            heard = [pool.submit({"sleep": 0.05})[1] for _ in range(3)]
            await asyncio.gather(*(one.over.wait() for one in heard))
            assert pool.seen.batches == [(1, 1)] * 4

    run(story())


def test_parameters_reach_the_model(running):
    async def story():
        async with running() as pool:
            heard = await pool.answer(1, parameters={"a": 1})
            assert heard.document["parameters"] == {"a": 1}

    run(story())


def test_a_request_without_rows_may_share_a_batch(running):
    async def story():
        async with running() as pool:
            pool.submit({"sleep": 0.1})
            _, empty = pool.submit()
            _, other = pool.submit(7)
            await other.over.wait()
            assert empty.document["predictions"] == []
            assert other.document["predictions"] == [7]

    run(story())


def test_a_problem_of_one_request_is_no_problem_of_its_batch(running):
    async def story():
        async with running() as pool:
            pool.submit({"sleep": 0.1})
            _, bad = pool.submit({"fail": 1})
            _, good = pool.submit(3)
            await good.over.wait()
            assert (bad.problem.status, bad.problem.type) == (500, "model_error")
            assert good.document == {"predictions": [3], "batch": 2}

    run(story())


def test_a_raw_body_and_a_refused_kind_pass_through(running):
    async def story():
        async with running() as pool:
            payload = (2).to_bytes(4) + b"{}" + b"\x00raw"
            heard = await pool.answer(kind=Kind.INVOKE, key=None, payload=payload)
            assert heard.told == [("done", payload)]
            heard = await pool.answer(kind=Kind.COUNT, key=None, payload=b"{}")
            assert heard.problem.status == 501

    run(story())


def test_a_payload_larger_than_any_buffer_goes_and_comes_whole(running):
    async def story():
        async with running() as pool:
            text = "x" * 9_000_000
            assert (await pool.answer(text)).document["predictions"] == [text]

    run(story())


@pytest.mark.parametrize("row", [{"exit": 0}, {"exit": 9}, {"kill": 9}, {"close": 1}, {"noise": 1}])
def test_a_worker_that_ends_fails_only_what_it_was_at(running, row):
    async def story():
        async with running() as pool:
            _, doomed = pool.submit({"sleep": 0.1, **row})
            _, waiting = pool.submit(5)
            await asyncio.gather(doomed.over.wait(), waiting.over.wait())
            assert (doomed.problem.status, doomed.problem.type) == (503, "unavailable")
            assert doomed.problem.headers["Retry-After"] == "1"
            assert waiting.document["predictions"] == [5]
            assert pool.seen.ends == ["died"]

    run(story())


def test_nothing_is_run_twice_when_a_worker_dies(running, note):
    async def story():
        async with running() as pool:
            _, first = pool.submit({"sleep": 0.2})
            batch = [pool.submit({"id": n, "sleep": 0.1})[1] for n in range(8)]
            await first.over.wait()
            await pool.until(lambda: note.read_text() != "")
            os.kill(pool.pool.pids()[0], signal.SIGKILL)
            later = [pool.submit({"id": n})[1] for n in range(8, 16)]
            await asyncio.gather(*(heard.over.wait() for heard in (*batch, *later)))
            assert {heard.problem.status for heard in batch} == {503}
            assert len([heard.document for heard in later]) == 8
            seen = note.read_text().split()
            assert len(seen) == len(set(seen))

    run(story())


def test_a_worker_is_back_within_two_seconds(running):
    async def story():
        async with running() as pool:
            for _ in range(3):
                os.kill(pool.pool.pids()[0], signal.SIGKILL)
                began = time.monotonic()
                await pool.until(lambda: pool.pool.states()["idle"] == 0)
                assert (await pool.answer(1)).document
                assert time.monotonic() - began < 2

    run(story())


def test_a_call_that_takes_too_long_is_killed_with_504(running):
    async def story():
        async with running(timeout_s=0.3) as pool:
            old = pool.pool.pids()
            heard = await pool.answer({"sleep": 60})
            assert (heard.problem.status, heard.problem.type) == (504, "timeout")
            assert heard.problem.message == "the model did not answer within 0.3 s"
            assert (await pool.answer(1)).document
            assert pool.seen.ends == ["timeout"]
            assert not psutil.pid_exists(old[0])

    run(story())


def test_who_waited_too_long_is_told_while_the_model_is_busy_for_others(running):
    async def story():
        async with running() as pool:
            _, busy = pool.submit({"sleep": 1.0})
            _, short = pool.submit(1, timeout_s=0.1)
            await short.over.wait()
            assert short.problem.status == 504
            assert not busy.over.is_set()
            _, run_late = pool.submit({"sleep": 1.0}, timeout_s=1.2)
            await busy.over.wait()
            await run_late.over.wait()
            assert run_late.problem.status == 504
            assert (await pool.answer(4)).document["predictions"] == [4]
            assert pool.seen.ends == []

    run(story())


def test_a_full_queue_refuses_at_once_with_429(running):
    async def story():
        async with running(max_queue=2) as pool:
            _, busy = pool.submit({"sleep": 0.3})
            kept = [pool.submit(n)[1] for n in range(2)]
            _, refused = pool.submit(9)
            assert (refused.problem.status, refused.problem.type) == (429, "busy")
            assert int(refused.problem.headers["Retry-After"]) >= 1
            await asyncio.gather(busy.over.wait(), *(heard.over.wait() for heard in kept))
            assert all(heard.document for heard in kept)

    run(story())


def test_what_is_cancelled_hears_nothing_and_is_not_run(running, note):
    async def story():
        async with running() as pool:
            first, busy = pool.submit({"sleep": 0.3, "id": 1})
            second, queued = pool.submit({"id": 2})
            pool.pool.cancel(second)
            pool.pool.cancel(first)
            assert (await pool.answer({"id": 3})).document
            assert (busy.told, queued.told) == ([], [])
            assert note.read_text().split() == ["1", "3"]

    run(story())


def test_a_stream_comes_item_by_item(running):
    async def story():
        async with running() as pool:
            _, heard = pool.stream(count=5)
            await heard.over.wait()
            assert heard.items == [0, 1, 2, 3, 4]
            assert heard.told == [("ended", b"{}")]
            assert (await pool.answer(1)).document

    run(story())


def test_a_stream_pauses_for_its_reader_and_loses_nothing(running):
    async def story():
        async with running() as pool:
            ask, heard = pool.stream(count=400, pad=20_000)
            heard.takes = 10
            for seen in range(10, 401, 10):
                await pool.until(lambda seen=seen: len(heard.items) == seen)
                await asyncio.sleep(0.002)
                assert len(heard.items) == seen
                ask.resume()
            await heard.over.wait()
            assert heard.items == list(range(400))

    run(story())


def test_a_paused_stream_holds_the_worker_back(running):
    async def story():
        async with running() as pool:
            ask, heard = pool.stream(count=100_000, pad=20_000)
            heard.takes = 1
            await pool.until(lambda: heard.items == [0])
            await asyncio.sleep(0.3)
            assert psutil.Process().memory_info().rss < 2**30
            pool.pool.cancel(ask)
            assert (await pool.answer(1)).document
            assert (heard.items, heard.told) == ([0], [])
            assert pool.seen.ends == []

    run(story())


def test_what_a_dying_worker_had_sent_of_a_paused_stream_is_told(running):
    async def story():
        async with running() as pool:
            ask, heard = pool.stream(count=30, exit=20)
            heard.takes = 1
            for seen in range(1, 21):
                await pool.until(lambda seen=seen: len(heard.items) == seen)
                await asyncio.sleep(0.01)
                ask.resume()
            await heard.over.wait()
            assert heard.items == list(range(20))
            assert heard.problem.status == 503

    run(story())


def test_a_stream_that_goes_on_after_its_cancel_costs_its_worker(running, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.workers.process._CANCEL_GRACE_S", 0.3)

    async def story():
        async with running() as pool:
            ask, heard = pool.stream(count=10_000, pause=0.01, deaf=1)
            await pool.until(lambda: heard.items)
            pool.pool.cancel(ask)
            assert (await pool.answer(1)).document
            assert heard.told == []
            assert pool.seen.ends == ["died"]

    run(story())


def test_a_stream_ends_at_its_deadline(running):
    async def story():
        async with running() as pool:
            payload = json.dumps({"instances": [{"count": 10_000, "pause": 0.01}]}).encode()
            heard = await pool.answer(kind=Kind.STREAM, key=None, payload=payload, timeout_s=0.3)
            assert heard.problem.status == 504
            assert (await pool.answer(1)).document
            assert pool.seen.ends == []

    run(story())


def test_a_listener_that_raises_costs_no_other_its_answer(running, capfd):
    async def story():
        async with running() as pool:
            _, busy = pool.submit({"sleep": 0.1})
            _, bad = pool.submit(1)
            bad.then = lambda: 1 / 0
            _, good = pool.submit(2)
            await good.over.wait()
            await busy.over.wait()
            assert good.document["batch"] == 2

    run(story())
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_children_that_a_worker_left_behind_end_with_it(running):
    async def story():
        async with running() as pool:
            child = (await pool.answer({"child": 1})).document["predictions"][0]
            heard = await pool.answer({"exit": 1})
            assert heard.problem.status == 503
            await pool.until(
                lambda: (
                    not psutil.pid_exists(child)
                    or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
                )
            )
            assert (await pool.answer(1)).document

    run(story())


def test_a_worker_knows_its_model_and_none_of_the_servers_secrets(running, monkeypatch):
    monkeypatch.setenv("FREELANE_SERVE_TOKEN_FILE", "x")
    monkeypatch.setenv("FREELANE_DATABASE_URL", "postgresql://user:password@host/db")

    async def story():
        async with running(digest="d", manifest="m") as pool:
            names = (await pool.answer({"environ": 1})).document["predictions"][0]
            assert {"FREELANE_MODEL_DIR", "FREELANE_MANIFEST", "FREELANE_MODEL_DIGEST"} <= {*names}
            assert not {"FREELANE_SERVE_TOKEN_FILE", "FREELANE_DATABASE_URL"} & {*names}

    run(story())


@pytest.mark.parametrize(
    ("cards", "expected"), [(("0", "1"), {"0", "1"}), (("0",), {"0"}), ((), {None})]
)
def test_workers_have_a_card_each_or_share_them(running, cards, expected):
    async def story():
        async with running(cards=cards, workers_min=2, workers_max=2) as pool:
            await pool.until(lambda: pool.pool.states()["idle"] == 2)
            answers = [pool.submit({"cards": 1, "sleep": 0.1}, key=n)[1] for n in range(2)]
            await asyncio.gather(*(heard.over.wait() for heard in answers))
            assert {heard.document["predictions"][0] for heard in answers} == expected

    run(story())
