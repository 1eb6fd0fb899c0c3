"""However the bytes of a connection are cut into segments, it is answered the same."""

import asyncio
import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from freelane.runtime.portable.problems import Forbidden
from freelane.runtime.server.http.connection import Connection
from freelane.runtime.server.http.crowd import Crowd
from freelane.runtime.server.http.limits import Limits

REQUESTS = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nother",
    b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    (
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    ),
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\n\r\n",
    b"GET /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /e HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /refused HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
    b"GET /nobody HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"POST /g HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /h HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /i HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nmore than is let in",
    b"nonsense\r\n\r\n",
    b"\r\n",
]


class Recorder(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.is_closed = False

    def get_extra_info(self, name, default=None):
        return self

    def setsockopt(self, *_):
        pass

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.is_closed

    def write(self, data):
        assert not self.is_closed
        self.written += data

    def write_eof(self):
        self.is_closed = True

    def close(self):
        self.is_closed = True

    abort = close


class Told:
    """Answers with what it was told."""

    def __init__(self):
        self.asked = []

    def head(self, exchange):
        if exchange.path == "/refused":
            raise Forbidden("no")
        return 0 if exchange.path == "/nobody" else 50

    def body(self, exchange):
        self.asked.append((exchange.method, exchange.path, exchange.body))
        exchange.reply(200, exchange.body)

    def refuse(self, exchange, problem):
        return problem.status, "text/plain", b"refused", ()

    def finished(self, exchange, status, sent):
        self.asked.append((exchange.path, status, sent))


def answered(segments):
    """What comes of a connection: statuses and bodies, what the app saw, whether it is over."""

    async def run():
        app = Told()
        connection, transport = Connection(Crowd(app, Limits(), most=9)), Recorder()
        connection.connection_made(transport)
        for segment in segments:
            if segment and not transport.is_closed:
                connection.data_received(segment)
                while connection._state == 0 and connection._rest:  # noqa: ASYNC110 - its next turn
                    await asyncio.sleep(0)
        written = re.sub(rb"x-request-id: \w+", b"", transport.written)
        connection.connection_lost(None)
        return written, app.asked, transport.is_closed

    return asyncio.run(run())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(REQUESTS), max_size=8), st.data())
def test_segments_change_nothing(requests, data):
    whole = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    at = [0, *cuts, len(whole)]
    segments = [whole[a:b] for a, b in itertools.pairwise(at)]
    expected = answered([whole])
    assert answered(segments) == expected
    assert answered([whole[n : n + 1] for n in range(len(whole))]) == expected
