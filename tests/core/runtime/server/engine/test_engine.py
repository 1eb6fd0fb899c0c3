import asyncio
import socket

import pytest

from freelane.model.generation import Finish, TokenUsage
from freelane.runtime.portable.frames import Kind
from freelane.wire import openai


def streaming(*texts, **options):
    async def answer(asked):
        await asked.stream(*texts, **options)

    return answer


def replying(status, body, headers=""):
    async def answer(asked):
        await asked.reply(status, body, headers)

    return answer


async def generate(asking):
    return await asking.generate()


def test_a_text_is_told_as_the_engine_writes_it(asking):
    async def use(asking):
        heard = await asking.generate(parameters={"max_tokens": 7, "stop": ["x"], "seed": 1})
        return heard, asking.local.asked[0]

    heard, asked = asking(streaming("he", "llo", finish=Finish.LENGTH), use)
    assert heard.items == ["he", "llo"]
    assert heard.end == {"finish": "length", "usage": {"input_tokens": 5, "output_tokens": 6}}
    assert asked.path == "/v1/chat/completions"
    assert asked.document == {
        "model": "llama",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 7,
        "stop": ["x"],
        "seed": 1,
    }


def test_a_bare_prompt_is_a_completion_of_the_engine(asking):
    async def use(asking):
        await asking.generate(prompt="once")
        return asking.local.asked[0]

    asked = asking(streaming("x"), use)
    assert asked.path == "/v1/completions"
    assert asked.document["prompt"] == "once"


def test_the_engine_s_key_goes_with_each_request_and_into_no_message(asking, monkeypatch):
    monkeypatch.setenv("ENGINE_KEY", "sk-secret")

    async def answer(asked):
        told = f"bad {asked.headers['Authorization']} at {asked.headers['Host']}"
        await asked.reply(400, {"error": {"message": told}})

    async def use(asking):
        heard = await asking.generate()
        return heard, asking.local.asked[0]

    heard, asked = asking(answer, use, key_variable="ENGINE_KEY")
    assert asked.headers["Authorization"] == "Bearer sk-secret"
    assert heard.problem.status == 400
    assert heard.problem.message == "the engine refused the request: bad Bearer *** at ***"


def test_a_key_that_is_not_set_is_told_at_the_start(asking):
    assert "ENGINE_KEY" in asking(streaming(), generate, key_variable="ENGINE_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/v1",
        "127.0.0.1:1/v1",
        "http:///v1",
        "http://user:word@host/v1",
        "http://host/v1?a=b",
        "http://host/v 1",
        "http://host:99999/v1",
    ],
)
def test_a_url_that_cannot_be_asked_is_told_at_the_start(asking, url):
    assert isinstance(asking(streaming(), generate, url=url), str)


@pytest.mark.parametrize(
    ("status", "body", "told", "kind"),
    [
        (400, {"error": {"message": "too long"}}, 400, "bad_request"),
        (404, {"error": "model 'llama' not found, try pulling it first"}, 400, "bad_request"),
        (401, {"error": {"message": "who are you"}}, 502, "unreachable"),
        (429, {"error": {"message": "slow down"}}, 429, "busy"),
        (500, {"error": {"message": "a traceback"}}, 502, "unreachable"),
        (503, b"<html>", 503, "unavailable"),
        (302, b"", 502, "unreachable"),
    ],
)
@pytest.mark.parametrize("ask", [Kind.GENERATE, Kind.EMBED])
def test_what_the_engine_refuses_is_told(asking, status, body, told, kind, ask):
    async def use(asking):
        if ask is Kind.GENERATE:
            return await asking.generate()
        return await asking.ask(ask, {"texts": ["a"]})

    heard = asking(replying(status, body, "Location: http://x/\r\nRetry-After: 9\r\n"), use)
    assert (heard.problem.status, heard.problem.type) == (told, kind)
    assert "traceback" not in heard.problem.message
    assert ("pulling" in heard.problem.message) == (status == 404)
    if told == 429:
        assert heard.problem.headers["Retry-After"] == "9"


def test_an_engine_that_is_not_there_is_told(asking):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    heard = asking(streaming(), generate, url=f"http://127.0.0.1:{port}/v1")
    assert (heard.problem.status, heard.problem.type) == (502, "unreachable")
    assert str(port) not in heard.problem.message


async def breaks_off(asked):
    await asked.begin()
    await asked.send(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    asked.writer.transport.abort()


async def ends_early(asked):
    await asked.begin()
    await asked.send(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    await asked.end()


async def fails_midway(asked):
    await asked.begin()
    await asked.send(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    await asked.send(b'data: {"error":{"message":"out of memory at 127.0.0.1"}}\n\n')
    await asked.end()


@pytest.mark.parametrize("answer", [breaks_off, ends_early, fails_midway])
def test_an_engine_that_breaks_off_is_told_after_what_it_wrote(asking, answer):
    heard = asking(answer, generate)
    assert heard.items == ["x"]
    assert heard.problem.status == 502
    assert heard.end is None
    assert "127.0.0.1" not in heard.problem.message


async def speaks_nonsense(asked):
    asked.writer.write(b"nonsense\r\n\r\n")
    await asked.writer.drain()


async def tells_a_head_without_end(asked):
    asked.writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Y: 1\r\n" * 20000)
    await asked.writer.drain()


@pytest.mark.parametrize(
    "answer",
    [
        speaks_nonsense,
        tells_a_head_without_end,
        replying(200, b"<html>"),
        replying(200, {"data": "x"}),
        replying(200, {"data": [{"embedding": ["x"]}]}),
    ],
)
def test_what_is_no_engine_is_told(asking, answer):
    async def use(asking):
        return [await asking.generate(), await asking.ask(Kind.EMBED, {"texts": ["a"]})]

    for heard in asking(answer, use):
        assert (heard.problem.status, heard.problem.type) == (502, "unreachable")


def test_a_body_without_a_length_ends_with_its_connection(asking):
    async def answer(asked):
        writer = openai.Writer(chat=True, model="m", name="r", created=1, include_usage=False)
        asked.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + writer.text("a"))
        asked.writer.write(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
        await asked.writer.drain()
        asked.writer.close()

    heard = asking(answer, generate)
    assert heard.items == ["a"]
    assert heard.end == {"finish": "stop"}


def test_who_hangs_up_ends_the_engine_s_work(asking):
    async def answer(asked):
        await asked.begin()
        while True:
            await asked.send(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
            await asyncio.sleep(0.01)

    async def use(asking):
        heard = asking.generating()
        await asyncio.sleep(0.1)
        assert heard.items
        asking.engine.cancel(heard.ask)
        told = len(heard.items)
        async with asyncio.timeout(5):
            await asking.local.asked[0].is_gone.wait()
        return heard, told

    heard, told = asking(answer, use)
    assert len(heard.items) == told
    assert heard.problem is None


def test_an_ask_that_is_cancelled_before_its_connection_stands_asks_nothing(asking):
    async def use(asking):
        heard = asking.generating()
        asking.engine.cancel(heard.ask)
        await asyncio.sleep(0.05)
        return asking.local.asked

    assert asking(streaming("x"), use) == []


def test_a_slow_reader_pauses_the_engine(asking):
    sent = []

    async def answer(asked):
        writer = openai.Writer(chat=True, model="m", name="r", created=1, include_usage=True)
        await asked.begin()
        for index in range(300):
            await asked.send(writer.text("x" * 65536))
            sent.append(index)
        await asked.send(writer.end(Finish.STOP, TokenUsage()))
        await asked.end()

    async def use(asking):
        heard = asking.generating(takes=False)
        await asyncio.sleep(0.3)
        waited = len(sent)
        first = len(heard.items)
        while not heard.over.is_set():
            heard.takes = True
            if heard.ask.resume is not None:
                resume, heard.ask.resume = heard.ask.resume, None
                resume()
            await asyncio.sleep(0.01)
        return heard, first, waited

    heard, first, waited = asking(answer, use)
    assert first == 1
    assert waited < 300
    assert len(heard.items) == 300
    assert heard.end is not None


def test_the_deadline_ends_what_the_engine_does_not(asking):
    async def answer(asked):
        await asked.is_gone.wait()

    async def use(asking):
        return [
            await asking.generate(timeout_s=0.1),
            await asking.ask(Kind.EMBED, {"texts": ["a"]}, timeout_s=0.1),
        ]

    for heard in asking(answer, use):
        assert (heard.problem.status, heard.problem.type) == (504, "timeout")


def test_too_many_asks_are_busy_and_those_that_wait_are_answered(asking, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.engine.runner.MOST_AT_ONCE", 2)

    async def use(asking):
        heard = [asking.generating() for _ in range(7)]
        asking.engine.cancel(heard[2].ask)
        assert asking.engine.queued == 3
        async with asyncio.timeout(5):
            for one in (*heard[:2], *heard[3:]):
                await one.over.wait()
        return heard

    heard = asking(streaming("x", pause_s=0.02), use, max_queue=3)
    assert [one.problem.status if one.problem else one.items for one in heard] == [
        ["x"],
        ["x"],
        [],
        ["x"],
        ["x"],
        429,
        429,
    ]


def test_large_asks_are_busy_before_they_fill_the_memory(asking, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.batching.LARGEST_QUEUE_BYTES", 200)

    async def use(asking):
        heard = [asking.generating() for _ in range(9)]
        async with asyncio.timeout(5):
            for one in heard:
                await one.over.wait()
            last = asking.generating()
            await last.over.wait()
        return [*heard, last]

    heard = asking(streaming("x", pause_s=0.02), use)
    told = [one.problem.status if one.problem else one.items for one in heard]
    size = len(heard[0].ask.payload)
    assert told == [["x"]] * (200 // size) + [429] * (9 - 200 // size) + [["x"]]


def test_connections_are_used_again_while_they_are_fresh(asking):
    async def use(asking):
        for _ in range(3):
            await asking.generate()
            await asyncio.sleep(0.01)
        return asking.local.connections

    assert asking(streaming("x"), use) == 1


def test_a_connection_that_is_idle_for_long_is_given_up(asking, monkeypatch):
    monkeypatch.setattr("freelane.runtime.server.engine.outgoing.KEEP_IDLE_S", 0.05)

    async def use(asking):
        await asking.generate()
        async with asyncio.timeout(5):
            await asking.local.left.wait()
        heard = await asking.generate()
        return heard, asking.local.connections

    heard, connections = asking(streaming("x"), use)
    assert heard.items == ["x"]
    assert connections == 2


def test_an_engine_that_ends_an_idle_connection_is_asked_on_another(asking):
    async def answer(asked):
        await asked.stream("x")
        asked.writer.close()

    async def use(asking):
        for _ in range(3):
            heard = await asking.generate()
            await asyncio.sleep(0.02)
        return heard

    assert asking(answer, use).items == ["x"]


def test_rows_are_chats(asking):
    async def answer(asked):
        said = asked.document["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{said}!"}
        await asked.reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    async def use(asking):
        rows = b'"a",{"prompt":"b"},{"messages":[{"role":"user","content":"c"}]}'
        many = b",".join(b'"%d"' % number for number in range(30))
        return [
            await asking.ask(Kind.ROWS, rows, parameters=b'{"max_tokens":3}'),
            await asking.ask(Kind.ROWS, many),
            await asking.ask(Kind.ROWS, b""),
            asking.local.asked[0].document,
        ]

    few, many, none, document = asking(answer, use)
    assert few.payload == {"predictions": ["a!", "b!", "c!"]}
    assert many.payload == {"predictions": [f"{number}!" for number in range(30)]}
    assert none.payload == {"predictions": []}
    assert document["max_tokens"] == 3
    assert document["stream"] is False


def test_one_row_that_fails_fails_its_request(asking):
    async def answer(asked):
        if asked.document["messages"][0]["content"] == "b":
            await asked.reply(400, {"error": {"message": "no"}})
        else:
            await asked.is_gone.wait()

    async def use(asking):
        heard = await asking.ask(Kind.ROWS, b'"a","b","c"')
        others = [
            asked for asked in asking.local.asked if asked.document["messages"][0]["content"] != "b"
        ]
        async with asyncio.timeout(5):
            for asked in others:
                await asked.is_gone.wait()
        return heard

    assert asking(answer, use).problem.message == "the engine refused the request: no"


@pytest.mark.parametrize(
    ("rows", "parameters"),
    [
        (b"3", b""),
        (b'{"prompt": 3}', b""),
        (b'{"prompt": "x", "more": 1}', b""),
        (b'{"messages": []}', b""),
        (b'"x"', b'{"top_k": 3}'),
        (b'"x"', b'{"stream": true}'),
        (b'"x"', b'{"max_tokens": 0}'),
    ],
)
def test_rows_that_are_no_chats_are_refused(asking, rows, parameters):
    async def use(asking):
        return await asking.ask(Kind.ROWS, rows, parameters=parameters), asking.local.asked

    heard, asked = asking(streaming(), use)
    assert heard.problem.status == 422
    assert asked == []


def test_an_instance_is_streamed(asking):
    async def use(asking):
        return [
            await asking.ask(Kind.STREAM, {"instances": ["a"], "parameters": None}),
            await asking.ask(Kind.STREAM, {"instances": ["a", "b"], "parameters": {}}),
        ]

    one, two = asking(streaming("x", "y"), use)
    assert one.items == ["x", "y"]
    assert two.problem.status == 422


def test_vectors_and_counts_come_back(asking):
    async def use(asking):
        return [
            await asking.ask(Kind.EMBED, {"texts": ["a", "b"]}),
            await asking.ask(Kind.COUNT, {"texts": ["abcde"]}),
            await asking.ask(Kind.INVOKE, b""),
        ]

    body = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]}]}
    vectors, tokens, invoked = asking(replying(200, body), use)
    assert vectors.payload == [[1.0], [2.0]]
    assert tokens.payload == {"tokens": 2}
    assert invoked.problem.status == 415


def test_what_runs_is_let_finish_within_the_grace(asking):
    async def use(asking):
        heard = asking.generating()
        await asyncio.sleep(0.02)
        await asking.engine.drain(5.0)
        late = asking.generating()
        return heard, late

    heard, late = asking(streaming("a", "b", pause_s=0.05), use)
    assert heard.items == ["a", "b"]
    assert heard.end is not None
    assert late.problem.status == 503


def test_what_runs_longer_than_the_grace_fails(asking):
    async def answer(asked):
        await asked.is_gone.wait()

    async def use(asking):
        heard = asking.generating()
        await asyncio.sleep(0.02)
        await asking.engine.drain(0.05)
        return heard

    assert asking(answer, use).problem.status == 503
