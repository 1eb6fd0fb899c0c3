"""Real sockets on loopback: a server that does one thing wrong at a time."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from freelane.clock import SystemClock
from freelane.errors import (
    DeadlineExceeded,
    InvalidRequest,
    OutcomeUnknown,
    ProviderInternal,
    ProviderUnreachable,
)
from freelane.model.call import HttpCall
from freelane.transport.attempts import Effect
from freelane.transport.http import AsyncTransport, Transport
from freelane.waiting import Deadline

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-One: a\r\nx-one: b\r\n\r\nhi"
CLOSE_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nretry-after: 0\r\n\r\n"


class Peer:
    """Answers each request by the next of its acts; remembers the requests it read."""

    def __init__(self):
        self.acts = []
        self.requests = []
        self.connections = 0
        self._threads = []
        self._ending = threading.Event()
        self.hung_up = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/x"
        self._start(self._accept)

    def close(self):
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.05)
            while not self._ending.is_set():
                request = self._read(connection)
                if request is None:
                    return
                self.requests.append(request)
                if not self._act(connection, self.acts.pop(0) if self.acts else OK):
                    return

    def _read(self, connection):
        data = b""
        while not self._ending.is_set():
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                continue
            if not chunk:
                return None
            data += chunk
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if len(body) >= length:
                    return data
        return None

    def _act(self, connection, act):  # noqa: C901 - one branch an act
        if act == "hang":
            self._ending.wait()
        elif act == "reset":
            return False
        elif act == "drip header":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self._ending.wait(0.02):
                connection.sendall(b"a")
        elif act == "stall body":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nfirst")
            while not self._ending.is_set():
                with contextlib.suppress(TimeoutError):
                    if connection.recv(1) == b"":
                        self.hung_up.set()
                        return False
        elif act == "break body":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nfirst")
            return False
        elif act == "drip body":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not self._ending.wait(0.02):
                connection.sendall(b"a")
        else:
            connection.sendall(act)
        return True


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def send_sync(call, **options):
    with Transport(max_reply_bytes=options.pop("max_reply_bytes", 1000)) as transport:
        seconds = options.pop("seconds", 5)
        return transport.send(call, deadline=Deadline(SystemClock(), seconds), **options)


def send_async(call, **options):
    async def main():
        size = options.pop("max_reply_bytes", 1000)
        async with AsyncTransport(max_reply_bytes=size) as transport:
            seconds = options.pop("seconds", 5)
            return await transport.send(call, deadline=Deadline(SystemClock(), seconds), **options)

    return asyncio.run(main())


@pytest.fixture(params=[send_sync, send_async], ids=["sync", "async"])
def send(request):
    return request.param


def post(peer, body=b"{}"):
    return HttpCall("POST", peer.url, {"authorization": "Bearer t"}, body)


def test_a_reply_is_handed_back_whole_with_lower_case_headers(send, peer):
    reply = send(post(peer, b"hello"))
    assert (reply.status, reply.body) == (200, b"hi")
    assert reply.headers == {"content-length": "2", "x-one": "a, b"}
    assert peer.requests[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert peer.requests[0].endswith(b"\r\n\r\nhello")
    assert b"Bearer t" in peer.requests[0]


@pytest.mark.parametrize("act", ["hang", "drip header", "drip body"])
def test_the_deadline_is_total_whatever_the_peer_drips(send, peer, act):
    peer.acts = [act]
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        send(post(peer), seconds=0.4)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("act", ["hang", "reset"])
def test_a_prediction_that_was_sent_is_never_sent_again(send, peer, act):
    peer.acts = [act]
    with pytest.raises((DeadlineExceeded, ProviderUnreachable), match=r"[^.]; it .* may have run"):
        send(post(peer), seconds=0.5)
    assert len(peer.requests) == 1


def test_a_busy_answer_to_a_prediction_is_handed_back(send, peer):
    peer.acts = [BUSY]
    assert send(post(peer)).status == 503
    assert len(peer.requests) == 1


def test_a_read_is_repeated_until_it_is_answered(send, peer):
    peer.acts = ["reset", BUSY, OK]
    assert send(post(peer), effect=Effect.READ).status == 200
    assert len(peer.requests) == 3


def test_a_read_is_not_repeated_for_ever(send, peer):
    peer.acts = [BUSY] * 9
    assert send(post(peer), effect=Effect.READ).status == 503
    assert len(peer.requests) == 3


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(send, peer):
    peer.acts = [b"HTTP/1.1 429 No\r\ncontent-length: 0\r\nretry-after: 60\r\n\r\n"]
    begun = time.monotonic()
    assert send(post(peer), effect=Effect.READ, seconds=2).status == 429
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("act", ["hang", "reset"])
def test_a_write_without_an_answer_has_an_unknown_outcome(send, peer, act):
    peer.acts = [act]
    with pytest.raises(OutcomeUnknown) as raised:
        send(post(peer), effect=Effect.WRITE, seconds=0.4)
    assert raised.value.operation == "POST /x"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("effect", Effect)
def test_a_refused_connection_is_unreachable_and_nothing_was_sent(send, effect):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        call = HttpCall("POST", f"http://127.0.0.1:{free.getsockname()[1]}/x", {}, b"")
        with pytest.raises(ProviderUnreachable) as raised:
            send(call, effect=effect, provider="local")
    assert raised.value.provider == "local"
    assert raised.value.hint == "freelane endpoints"


def test_a_deadline_that_has_passed_sends_nothing(send, peer):
    with pytest.raises(DeadlineExceeded):
        send(post(peer), seconds=0)
    assert peer.connections == 0


def test_an_answer_past_the_cap_is_refused(send, peer):
    peer.acts = [b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"a" * 5000]
    with pytest.raises(ProviderInternal, match="larger than 1000 bytes"):
        send(post(peer))


def test_a_redirect_is_an_answer_and_is_not_followed(send, peer):
    peer.acts = [
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    ]
    assert send(post(peer)).status == 302
    assert len(peer.requests) == 1


def test_proxies_of_the_environment_are_not_used(send, peer, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(post(peer)).status == 200


@pytest.mark.parametrize(
    "call",
    [
        HttpCall("GET", "ftp://127.0.0.1/x", {}),
        HttpCall("GET", "http://127.0.0.1:9/x", {"a": "b\r\nc: d"}),
        HttpCall("GET", "http://127.0.0.1:9/x", {"a": "\N{SNOWMAN}"}),
    ],
    ids=["scheme", "line break", "not latin-1"],
)
def test_a_call_that_is_not_http_is_invalid(send, peer, call):
    call = HttpCall(call.method, call.url.replace("127.0.0.1:9", peer.url[7:-2]), call.headers)
    with pytest.raises(InvalidRequest):
        send(call)
    assert peer.requests == []


def test_a_connection_serves_the_next_call(peer):
    with Transport() as transport:
        for _ in range(5):
            transport.send(post(peer), deadline=Deadline(SystemClock(), 5))
    assert peer.connections == 1


def test_a_connection_that_the_peer_closed_is_replaced(peer):
    peer.acts = [CLOSE_OK, OK]
    with Transport() as transport:
        for _ in range(2):
            assert transport.send(post(peer), deadline=Deadline(SystemClock(), 5)).body == b"hi"


def test_threads_share_one_transport(peer):
    replies = []
    with Transport() as transport:

        def call():
            replies.append(transport.send(post(peer), deadline=Deadline(SystemClock(), 5)).status)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == [200] * 8


def test_a_transport_loads_its_http_library_on_the_first_call():
    code = "import sys, freelane.transport.http; sys.exit('httpcore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def streamed(peer, *, seconds=5, longest_pause_s=None, max_reply_bytes=1000):
    with (
        Transport(max_reply_bytes=max_reply_bytes) as transport,
        transport.stream(
            post(peer), deadline=Deadline(SystemClock(), seconds), longest_pause_s=longest_pause_s
        ) as stream,
    ):
        yield stream


def test_a_streamed_answer_comes_part_by_part(peer):
    peer.acts = ["stall body"]
    with streamed(peer) as stream:
        assert (stream.status, stream.headers["content-length"]) == (200, "100000")
        assert next(iter(stream)) == b"first"


def test_a_streamed_answer_is_read_whole_too(peer):
    peer.acts = [CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"]
    with streamed(peer) as stream:
        assert stream.read().body == b"abc"


def test_leaving_a_streamed_answer_ends_its_connection(peer):
    peer.acts = ["stall body"]
    with streamed(peer) as stream:
        parts = iter(stream)
        next(parts)
        assert not peer.hung_up.is_set()
    assert peer.hung_up.wait(5)


def test_the_connection_of_a_streamed_answer_serves_the_next_call(peer):
    with Transport() as transport:
        for _ in range(3):
            deadline = Deadline(SystemClock(), 5)
            with transport.stream(post(peer), deadline=deadline) as stream:
                assert b"".join(stream) == b"hi"
    assert peer.connections == 1


def test_a_streamed_answer_ends_by_the_deadline(peer):
    peer.acts = ["drip body"]
    begun = time.monotonic()
    with streamed(peer, seconds=0.4) as stream, pytest.raises(DeadlineExceeded, match="complete"):
        list(stream)
    assert time.monotonic() - begun < 1.5


def test_a_streamed_answer_may_pause_only_for_so_long(peer):
    peer.acts = ["stall body"]
    begun = time.monotonic()
    with (
        streamed(peer, seconds=30, longest_pause_s=0.2) as stream,
        pytest.raises(DeadlineExceeded, match="stopped in the middle"),
    ):
        list(stream)
    assert time.monotonic() - begun < 5


def test_the_head_of_a_streamed_answer_may_take_longer_than_a_pause(peer):
    peer.acts = [OK]
    with streamed(peer, longest_pause_s=0.0001) as stream:
        assert stream.status == 200


def test_a_streamed_answer_that_breaks_off_is_told(peer):
    peer.acts = ["break body"]
    with streamed(peer) as stream, pytest.raises(ProviderUnreachable, match="broke off"):
        list(stream)


def test_a_streamed_answer_past_the_cap_is_refused(peer):
    peer.acts = [b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"a" * 5000]
    with streamed(peer) as stream, pytest.raises(ProviderInternal, match="larger than 1000 bytes"):
        list(stream)


def test_a_streamed_call_that_was_sent_is_never_sent_again(peer):
    peer.acts = ["reset"]
    with pytest.raises(ProviderUnreachable, match="may have run"), streamed(peer):
        pass
    assert len(peer.requests) == 1


def test_what_fails_while_a_streamed_answer_is_read_is_not_the_transports(peer):
    peer.acts = ["stall body"]
    with pytest.raises(TimeoutError, match="mine"), streamed(peer):
        raise TimeoutError("mine")
