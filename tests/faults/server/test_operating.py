"""What whoever runs an endpoint is told of it, while it serves."""

import json
import threading
import time

import psutil
import pytest

PREDICT = """
import time
def load(folder):
    return 1
def predict(model, instances):
    for row in instances:
        time.sleep(row)
    return instances
"""


@pytest.fixture(scope="module")
def served(serve):
    return serve(PREDICT)


def waited(check, *, most_s=5.0):
    deadline = time.monotonic() + most_s
    while not check() and time.monotonic() < deadline:
        time.sleep(0.02)
    return check()


def test_metrics_tell_of_the_requests_that_were_answered(served):
    before = served.metrics()
    for _ in range(5):
        assert served.predict([0])[0] == 200
    assert served.statuses(served.head(Content_Length=3), b"[1]") == [422]
    assert served.statuses(b"nonsense\r\n\r\n") == [400]
    after = served.metrics()

    def grew(name):
        return after[name] - before.get(name, 0)

    assert grew('freelane_requests_total{operation="native.predict",status="200"}') == 5
    assert grew('freelane_requests_total{operation="native.predict",status="422"}') == 1
    assert grew('freelane_request_seconds_count{operation="native.predict"}') == 6
    assert grew('freelane_unreadable_requests_total{status="400"}') == 1
    assert grew("freelane_batch_rows_sum") == 5
    assert grew("freelane_batch_requests_total") == 5
    assert after['freelane_resident_memory_bytes{process="workers"}'] > 2**20
    assert sum(value for name, value in after.items() if "freelane_workers{" in name) == 1
    assert after["freelane_requests_in_flight"] == 1  # the scrape itself


def test_metrics_show_who_waits(served):
    threads = [threading.Thread(target=served.predict, args=([s],)) for s in (1.0, 0, 0, 0)]
    threads[0].start()
    time.sleep(0.1)
    for thread in threads[1:]:
        thread.start()

    def shown():
        found = served.metrics()  # a request itself
        return (found["freelane_queue_depth"], found["freelane_requests_in_flight"]) == (3, 5)

    assert waited(shown)
    for thread in threads:
        thread.join(10)
    assert waited(lambda: served.metrics()["freelane_queue_depth"] == 0)


def test_each_answer_is_a_line_of_the_access_log_that_its_caller_can_name(served):
    with served.caller() as caller:
        body = b'{"instances": [0]}'
        path = "/v1/endpoints/tiny/predict"
        status, headers, reply = caller.ask("POST", f"{path}?secret=1", body)
        assert status == 200
    mine = []

    def found():
        log = served.folder / "access.log"
        if not log.exists():  # its first line comes a moment after the answer
            return []
        lines = log.read_text().splitlines()
        mine[:] = [line for line in map(json.loads, lines) if line["id"] == headers["x-request-id"]]
        return mine

    assert waited(found)
    (line,) = mine
    assert (line["method"], line["path"], line["status"]) == ("POST", path, 200)
    assert (line["bytes"], line["operation"]) == (len(reply), "native.predict")
    assert 0 < line["ms"] < 10_000


def test_a_caller_who_hangs_up_is_499_and_the_next_one_is_answered(served):
    body = b'{"instances": [0.3]}'
    with served.connect(served.head(Content_Length=len(body)) + body):
        time.sleep(0.1)
    name = 'freelane_requests_total{operation="native.predict",status="499"}'
    assert waited(lambda: served.metrics().get(name) == 1)
    assert served.predict([0])[0] == 200


def test_thousands_of_requests_leave_no_descriptor_open_and_no_memory_taken(served):
    processes = [psutil.Process(served.process.pid)]
    processes += processes[0].children(recursive=True)

    def burst():
        for number in range(200):
            with served.caller() as caller:
                body = b'{"instances": [0]}' if number % 4 else b'{"instances": '
                for _ in range(4):
                    caller.ask("POST", "/v1/endpoints/tiny/predict", body)
            served.statuses(served.head(Authorization=None, Content_Length=0))

    burst()
    before = [(one.num_fds(), one.memory_info().rss) for one in processes]
    for _ in range(3):
        burst()
    for one, (files, rss_bytes) in zip(processes, before, strict=True):
        assert waited(lambda one=one, files=files: one.num_fds() <= files)
        assert one.memory_info().rss < rss_bytes * 1.1


def test_an_access_log_that_cannot_be_written_costs_no_answer(serve, tmp_path):
    served = serve(PREDICT, access_log=str(tmp_path / "gone" / "access.log"))
    for _ in range(3):
        assert served.predict([0])[0] == 200
    assert waited(lambda: served.metrics()["freelane_access_log_lost_lines_total"] >= 3)


def test_a_full_queue_asks_for_patience(serve):
    served = serve(PREDICT, max_queue=2, max_batch_size=1)
    found = []

    def ask():
        with served.caller() as caller:
            body = b'{"instances": [0.2]}'
            found.append(caller.ask("POST", "/v1/endpoints/tiny/predict", body))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    refused = [(headers, body) for status, headers, body in found if status == 429]
    assert {status for status, _, _ in found} == {200, 429}
    assert 4 <= len(refused) <= 6
    for headers, body in refused:
        assert int(headers["retry-after"]) >= 1
        assert json.loads(body)["error"]["type"] == "busy"
