"""The access log: whole lines of JSON, soon, rotated, and never at an answer's cost."""

import json
import resource
import signal
import time

import pytest

from freelane.runtime.server.access_log import AccessLog


class Loop:
    """Keeps what is to be called later."""

    def __init__(self):
        self.due = []

    def call_later(self, delay, call, /):
        self.due.append((delay, call))

    def run(self):
        due, self.due = self.due, []
        for _, call in due:
            call()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "access.log"


@pytest.fixture
def log(loop, file):
    return AccessLog(file, call_later=loop.call_later)


def write(log, *, number=0, path="/v1/endpoints/tiny/predict"):
    log.write(f"id{number}", "POST", path, 200, 12, 0.0123456, "native.predict")


def lines(file):
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_line_says_what_was_answered(log, loop, file):
    write(log)
    loop.run()
    (line,) = lines(file)
    told = line.pop("time")
    assert time.strftime("%Y-%m-%dT%H:") == told[:14] or told.endswith("Z")
    assert line == {
        "id": "id0", "method": "POST", "path": "/v1/endpoints/tiny/predict", "status": 200,
        "bytes": 12, "ms": 12.345, "operation": "native.predict",
    }  # fmt: skip


def test_a_line_tells_no_query_header_or_body(log, loop, file):
    class Asked:
        started = time.monotonic() - 0.5
        id, method, path, query = "a", "GET", "/ping", "key=SECRET"
        headers = {"authorization": "Bearer SECRET"}  # noqa: RUF012
        body = b"SECRET"

    log.answered(Asked(), "native.ping", 200, 2)
    loop.run()
    (line,) = lines(file)
    assert "SECRET" not in json.dumps(line)
    assert 500 <= line["ms"] < 5000


def test_lines_wait_for_one_write(log, loop, file):
    for number in range(3):
        write(log, number=number)
    assert not file.exists()
    assert [delay for delay, _ in loop.due] == [0.2]
    loop.run()
    assert [line["id"] for line in lines(file)] == ["id0", "id1", "id2"]
    write(log, number=3)
    loop.run()
    assert len(lines(file)) == 4


def test_a_burst_is_written_before_it_fills_the_memory(log, file):
    for number in range(1000):
        write(log, number=number)
    assert file.stat().st_size > 64 * 1024
    log.flush()
    assert len(lines(file)) == 1000


def test_a_path_of_any_characters_stays_one_line_of_json(log, loop, file):
    for path in ('/"\n\\', "/é\x00\x7f", "/\ud800", "/" + "x" * 10_000):
        write(log, path=path)
    loop.run()
    told = lines(file)
    assert len(told) == 4
    assert told[0]["path"] == '/"\n\\'
    assert len(told[3]["path"]) == 512


def test_a_full_file_is_moved_away_and_three_are_kept(loop, file):
    log = AccessLog(file, call_later=loop.call_later, largest_bytes=500)
    for number in range(20):
        write(log, number=number)
        log.flush()
    names = sorted(entry.name for entry in file.parent.iterdir())
    assert names == ["access.log", "access.log.1", "access.log.2", "access.log.3"]
    assert all(entry.stat().st_size <= 500 for entry in file.parent.iterdir())
    older = [lines(file.with_name(name)) for name in reversed(names)]
    told = [line["id"] for part in older for line in part]
    assert told == [f"id{number}" for number in range(20 - len(told), 20)]


def test_nobody_else_reads_the_log(log, file):
    write(log)
    log.flush()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_server_of_the_endpoint_goes_on_in_the_moved_file_s_successor(loop, file):
    old, new = (AccessLog(file, call_later=loop.call_later) for _ in range(2))
    write(old, number=0)
    old.flush()
    file.rename(file.with_name("access.log.1"))
    for number, log in ((1, new), (2, old)):
        write(log, number=number)
        log.flush()
    assert [line["id"] for line in lines(file)] == ["id1", "id2"]


def test_a_full_disk_costs_lines_and_nothing_else(log, file):
    write(log, number=0)
    log.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 30, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        write(log, number=1)
        log.flush()
    finally:
        signal.signal(signal.SIGXFSZ, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.lost == 1
    write(log, number=2)
    log.flush()
    assert [line["id"] for line in lines(file)] == ["id0", "id2"]


def test_a_folder_that_is_gone_costs_lines_and_nothing_else(loop, tmp_path):
    log = AccessLog(tmp_path / "gone" / "access.log", call_later=loop.call_later)
    write(log)
    loop.run()
    assert log.lost == 1
