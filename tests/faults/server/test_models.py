"""What a model may do to its server: print, raise, hang, leak, exit, answer nonsense."""

import json
import os
import re
import signal
import threading
import time

import psutil
import pytest

PREDICT = """
import os, sys, time
held = []
def load(folder):
    return 1
class OutOfMemoryError(RuntimeError):
    pass
def predict(model, instances):
    for row in instances:
        if isinstance(row, dict) and len(instances) > row.get("most", 64):
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if not isinstance(row, dict):
            continue
        for what, value in row.items():
            act(what, value)
    return [row.get("answer", os.getpid()) if isinstance(row, dict) else row for row in instances]
def act(what, value):
    if what == "print":
        print("HTTP/1.1 200 OK" * value)
        sys.stdout.write("\\0" * 100)
        os.write(1, b"\\x00\\x00\\x00\\x05\\x12\\x00\\x00\\x00\\x00hello")
        sys.stderr.write("warned\\n")
    elif what == "raise":
        raise {"value": ValueError, "exit": SystemExit, "key": KeyboardInterrupt,
               "generator": GeneratorExit}[value]("no such thing as '/srv/secret place/a.bin'")
    elif what == "read":
        open("/srv/secret place/weights.bin")
    elif what == "hang":
        time.sleep(value)
    elif what == "spin":
        while True:
            pass
    elif what == "leave":
        os._exit(value)
    elif what == "kill":
        os.kill(os.getpid(), value)
    elif what == "close":
        os.close(value)
    elif what == "closeall":
        os.closerange(0, 3)
    elif what == "leak":
        held.append(bytearray(os.urandom(1024)) * value * 1024)
    elif what == "fork":
        if os.fork() == 0:
            time.sleep(value)
            os._exit(0)
    elif what == "memory" and len(held) == 0:
        raise MemoryError
    elif what == "recurse":
        act(what, value)
    elif what == "nan":
        row = float("nan")
"""
AGAIN_S = 10.0


@pytest.fixture(scope="module")
def served(serve):
    return serve(PREDICT, timeout_s=1.0)


def eventually(served, instances):
    """The first answer that is no refusal for now."""
    deadline = time.monotonic() + AGAIN_S
    while True:
        status, document = served.predict(instances)
        if status != 503:
            return status, document
        assert time.monotonic() < deadline, served.log
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def answers_again(served):
    """Whatever the model did, the server stands and the next request is answered."""
    yield
    assert eventually(served, [7]) == (200, {"predictions": [7]})
    assert served.process.poll() is None


def test_what_it_prints_is_in_the_log_and_no_part_of_an_answer(served):
    status, document = served.predict([{"print": 1000, "answer": 1}])
    assert (status, document) == (200, {"predictions": [1]})
    deadline = time.monotonic() + 5
    while "warned" not in served.log and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "warned" in served.log
    assert "HTTP/1.1 200 OK" in served.log


@pytest.mark.parametrize("kind", ["value", "exit", "key", "generator"])
def test_what_it_raises_is_told_with_a_request_id_and_without_a_path(served, kind):
    worker = served.predict([{}])[1]
    with served.caller() as caller:
        body = json.dumps({"instances": [{"raise": kind}]}).encode()
        status, headers, reply = caller.ask("POST", "/v1/endpoints/tiny/predict", body)
    error = json.loads(reply)["error"]
    assert (status, error["type"]) == (500, "model_error")
    assert error["request_id"] == headers["x-request-id"]
    assert "secret" not in error["message"]
    assert served.predict([{}])[1] == worker, "the worker goes on"


def test_a_file_that_is_not_there_is_told_without_its_path(served):
    status, document = served.predict([{"read": 1}])
    assert status == 500
    assert "srv" not in json.dumps(document)
    assert served.process.pid not in document.values()


def test_endless_recursion_is_an_error_like_others(served):
    status, document = served.predict([{"recurse": 1}])
    assert (status, document["error"]["type"]) == (500, "model_error")


@pytest.mark.parametrize("what", [{"hang": 60}, {"spin": 1}], ids=["sleeps", "spins"])
def test_a_call_without_end_is_ended_in_time(served, what):
    begun = time.monotonic()
    status, document = served.predict([what])
    assert (status, document["error"]["type"]) == (504, "timeout")
    assert 0.9 < time.monotonic() - begun < 3.0


@pytest.mark.parametrize(
    "what", [{"leave": 0}, {"leave": 7}, {"kill": signal.SIGSEGV}, {"kill": signal.SIGKILL}]
)
def test_a_worker_that_leaves_costs_its_own_request_only(served, what):
    before = served.metrics()['freelane_worker_ends_total{why="died"}'] if _died(served) else 0
    with served.caller() as caller:
        body = json.dumps({"instances": [what]}).encode()
        status, headers, reply = caller.ask("POST", "/v1/endpoints/tiny/predict", body)
    assert (status, json.loads(reply)["error"]["type"]) == (503, "unavailable")
    assert int(headers["retry-after"]) >= 1
    assert eventually(served, [1])[0] == 200
    assert served.metrics()['freelane_worker_ends_total{why="died"}'] == before + 1


def _died(served):
    return 'freelane_worker_ends_total{why="died"}' in served.metrics()


@pytest.mark.parametrize("what", [{"close": 1}, {"close": 2}, {"closeall": 1}])
def test_a_model_that_closes_its_output_is_heard_all_the_same(served, what):
    assert eventually(served, [{**what, "answer": 3}]) == (200, {"predictions": [3]})
    assert served.predict([{"raise": "value"}])[0] == 500


def test_a_stopped_worker_is_ended_and_another_one_answers(served):
    (_, document) = eventually(served, [{}])
    (pid,) = document["predictions"]
    os.kill(pid, signal.SIGSTOP)
    assert served.predict([1])[0] == 504
    assert eventually(served, [1])[0] == 200
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_others_in_a_batch_are_answered_where_one_raises(served):
    """While the first holds the worker, the rest come together; one of those is bad."""
    found = {}

    def ask(number, row):
        found[number] = eventually(served, [row])

    asked = [{"hang": 0.3, "answer": "first"}] + [
        {"raise": "value"} if number == 3 else {"answer": number} for number in range(1, 8)
    ]
    threads = []
    for number, row in enumerate(asked):
        threads.append(threading.Thread(target=ask, args=(number, row)))
        threads[-1].start()
        if number == 0:
            time.sleep(0.1)
    for thread in threads:
        thread.join(20)
    assert {number: status for number, (status, _) in found.items() if status != 200} == {3: 500}
    assert found[5][1] == {"predictions": [5]}


def test_a_child_that_a_model_leaves_behind_holds_no_connection_and_no_port(served):
    assert eventually(served, [{"fork": 30, "answer": 1}])[0] == 200
    with served.caller() as caller:
        status, _, _ = caller.ask("GET", "/ping", Connection="close")
    assert status == 200
    (_, document) = eventually(served, [{}])
    for child in psutil.Process(document["predictions"][0]).children():
        assert not child.net_connections(kind="inet")
        child.kill()


def test_out_of_memory_is_said_as_such(served):
    status, document = served.predict([{"memory": 1}])
    assert (status, document["error"]["type"]) == (507, "out_of_memory")


@pytest.mark.parametrize(("most", "statuses"), [(2, {200}), (1, {507})])
def test_a_batch_that_is_too_large_for_the_card_is_halved_once(served, most, statuses):
    """Four come together while the worker is held: halves of two."""
    found = []
    held = threading.Thread(target=served.predict, args=([{"hang": 0.4}],))
    rows = [{"most": most, "answer": number} for number in range(4)]
    asking = [
        threading.Thread(target=lambda row=row: found.append((row, served.predict([row]))))
        for row in rows
    ]
    held.start()
    time.sleep(0.1)
    for thread in asking:
        thread.start()
    for thread in (held, *asking):
        thread.join(10)
    assert {status for _, (status, _) in found} == statuses
    for row, (status, document) in found:
        if status == 200:
            assert document == {"predictions": [row["answer"]]}


def test_a_model_that_leaks_is_replaced_between_two_calls(serve):
    leaky = serve(PREDICT, worker_memory_bytes=150 * 2**20)
    pids = set()
    deadline = time.monotonic() + 20
    while len(pids) < 2 and time.monotonic() < deadline:
        status, document = leaky.predict([{"leak": 40}, {}])
        assert status == 200, document
        pids.add(document["predictions"][1])
        time.sleep(0.1)
    assert len(pids) >= 2, leaky.log
    assert leaky.metrics()['freelane_worker_ends_total{why="memory"}'] >= 1


def test_the_server_s_end_leaves_no_process_behind(serve):
    brief = serve(PREDICT)
    (pid,) = brief.predict([{}])[1]["predictions"]
    children = psutil.Process(brief.process.pid).children(recursive=True)
    assert pid in {child.pid for child in children}
    brief.process.kill()
    brief.process.wait(5)
    deadline = time.monotonic() + 5
    while any(map(_works, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_works, children))


def _works(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


ODD = """
import math
def load(folder):
    return 1
def predict(model, instances):
    return {
        "nan": [math.nan], "infinity": [math.inf], "set": [{1}], "object": [object()], "none": None,
        "surrogate": ["\\ud800"], "deep": [deep()], "bytes": [b"x"], "key": [{(1, 2): 3}],
        "few": [], "many": [1, 2, 3], "circle": circle(), "number": 7, "text": "abc",
        "huge": [10 ** 400], "complex": [1j],
    }[instances[0]]
def deep():
    found = []
    for _ in range(5000):
        found = [found]
    return found
def circle():
    found = []
    found.append(found)
    return found
"""


@pytest.fixture(scope="module", params=["process", "none"])
def odd(serve, request):
    return serve(ODD, isolation=request.param)


@pytest.mark.parametrize(
    "what",
    [
        "nan", "infinity", "set", "object", "none", "surrogate", "deep", "bytes", "key", "few",
        "many", "circle", "number", "text", "huge", "complex", "unknown",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_the_model_s_error_or_valid_json(odd, what):
    status, document = odd.predict([what])
    if status == 200:
        assert set(document) == {"predictions"}
        json.dumps(document, allow_nan=False)
    else:
        assert (status, document["error"]["type"]) == (500, "model_error"), document
    assert odd.process.poll() is None
    assert "internal" not in odd.log


OUTPUT = """
def model_fn(folder):
    return 1
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    return data
def output_fn(prediction, accept):
    kind = bytes(prediction).decode("utf-8")
    return "x", kind
"""


def test_a_content_type_of_the_model_s_own_never_becomes_a_second_header(serve):
    served = serve(OUTPUT)
    for kind in ("text/plain\r\nSet-Cookie: a=1", "text/plain\n\nbody", "te\0xt", "\u2028", ""):
        length = len(kind.encode())
        head = served.head(path="/invocations", Content_Length=length, Content_Type="text/plain")
        told, _, _ = served.raw(head, kind.encode()).partition(b"\r\n\r\n")
        assert told.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 200 ")), (kind, told)
        assert not re.search(rb"[\r\n]set-cookie", told, re.IGNORECASE)
    served.probe_s()
