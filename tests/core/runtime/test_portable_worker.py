"""A worker's process: what it says over its channel, and what user code cannot do to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle
from freelane.runtime.portable import frames, problems
from freelane.runtime.portable.frames import Kind

DOUBLE = "def load(d): return 2\ndef predict(m, rows): return [m * row for row in rows]\n"


class Worker:
    """A worker's process, and the server's end of its channel."""

    def __init__(self, folder, python, environ):
        self.channel, own = socket.socketpair()
        self.channel.settimeout(20)
        self.reader = frames.Reader()
        self.said = []
        self.log = folder / "log"
        with own, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "bootstrap.py", "work", "--channel", str(own.fileno())],
                cwd=folder,
                env={"PATH": os.environ["PATH"], **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(own.fileno(),),
                start_new_session=True,
            )

    def say(self, kind, call, *payload):
        self.channel.sendall(frames.frame(kind, call, *payload))

    def ask(self, *rows, call=1):
        self.say(Kind.ROWS, call, frames.pack_rows([len(rows)], b"", json.dumps(rows).encode()))

    def hear(self):
        while not self.said:
            data = self.channel.recv(65536)
            assert data, self.log.read_text()
            self.said += self.reader.feed(data)
        return self.said.pop(0)

    def predictions(self):
        kind, _, payload = self.hear()
        assert kind is Kind.REPLY, payload
        ((is_document, data),) = frames.unpack_replies(payload)
        return json.loads(data)["predictions"] if is_document else problems.read(data)

    def hello(self):
        kind, call, payload = self.hear()
        assert (kind, call) == (Kind.HELLO, 0), payload
        return frames.Hello(**json.loads(payload))

    def close(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def work(tmp_path):
    made = []

    def start(script, *, python=sys.executable, **environ):
        source = tmp_path / "source"
        source.mkdir()
        (source / "predict.py").write_text(script)
        model = tmp_path / "model"
        model.mkdir()
        (model / "weights").write_text("2")
        spec = EndpointSpec(
            project="demo",
            name="demo",
            source=source,
            files=("predict.py",),
            script="predict.py",
            artifact=ArtifactHandle("0", str(model)),
        )
        bundle.write(spec, tmp_path / "bundle")
        environ = {"FREELANE_MODEL_DIR": str(model), **environ}
        made.append(Worker(tmp_path / "bundle", str(python), environ))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_it_greets_and_answers_and_ends_with_code_0_when_the_channel_does(work):
    worker = work(DOUBLE)
    assert worker.hello() == frames.Hello(
        style="native", batches=True, streams=False, generates=False, embeds=False, counts=False
    )

    worker.ask(1, 2.5, call=7)
    kind, call, payload = worker.hear()

    assert (kind, call) == (Kind.REPLY, 7)
    assert frames.unpack_replies(payload) == [(True, b'{"predictions":[2,5.0]}')]
    worker.channel.close()
    assert worker.process.wait(10) == 0


def test_it_runs_from_its_folder_alone_on_python_3_9(work, oldest_python):
    worker = work(DOUBLE, python=oldest_python)
    worker.hello()

    worker.ask(4)

    assert worker.predictions() == [8]


def test_close_ends_it(work):
    worker = work(DOUBLE)
    worker.hello()

    worker.say(Kind.CLOSE, 0)

    assert worker.process.wait(10) == 0


def test_calls_that_wait_are_answered_in_turn(work):
    worker = work(DOUBLE)
    worker.hello()
    for number in range(50):
        worker.ask(number, call=number)

    assert [worker.predictions() for _ in range(50)] == [[2 * n] for n in range(50)]


def test_a_model_that_cannot_be_loaded_says_why(work):
    worker = work("def load(d): raise ValueError('no weights')\ndef predict(m, rows): pass")

    kind, _, payload = worker.hear()

    assert kind is Kind.FAILED
    reason = json.loads(payload)["error"]
    assert reason == ("the model could not be loaded: ValueError: no weights (predict.py, line 1)")
    assert worker.process.wait(10) == 3
    assert "Traceback" in worker.log.read_text()


def test_a_model_that_is_not_the_one_that_was_deployed_is_not_loaded(work, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"files": [], "digest": "0" * 64}))
    worker = work(DOUBLE, FREELANE_MANIFEST=str(manifest), FREELANE_MODEL_DIGEST="1" * 64)

    kind, _, payload = worker.hear()

    assert kind is Kind.FAILED
    assert json.loads(payload)["error"] == "the model is not the one that was deployed"


def test_a_variable_that_is_missing_is_said(work):
    worker = work(DOUBLE, FREELANE_MODEL_DIR="")

    kind, _, payload = worker.hear()

    assert kind is Kind.FAILED
    assert "FREELANE_MODEL_DIR" in json.loads(payload)["error"]


def test_it_says_so_once_answers_have_shown_that_requests_cannot_share_a_call(work):
    worker = work("def load(d): pass\ndef predict(m, rows): return sum(rows)")
    assert worker.hello().batches

    worker.ask(1, 2)

    assert not worker.hello().batches
    assert worker.predictions() == [3]


def test_user_code_that_prints_writes_to_the_log_and_nowhere_else(work):
    worker = work(
        """
import os
print("while it loads")
def load(d): return None
def predict(m, rows):
    print("a print")
    os.write(1, b"to one\\n")
    os.write(2, b"to two\\n")
    return rows
"""
    )
    worker.hello()
    worker.ask(1)

    assert worker.predictions() == [1]
    said = worker.log.read_text()
    assert {"while it loads", "a print", "to one", "to two"} <= set(said.splitlines())


def test_user_code_that_closes_the_usual_descriptors_harms_nothing(work):
    worker = work(
        """
import os, sys
def load(d): return None
def predict(m, rows):
    os.closerange(0, 30)
    file = open(os.devnull)
    return [file.fileno()]
"""
    )
    worker.hello()

    worker.ask(1)
    assert worker.predictions() == [0]
    worker.ask(1)
    assert worker.predictions() == [0]


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise KeyboardInterrupt", "exit()"])
def test_user_code_that_would_end_is_an_error_of_the_model(work, end):
    worker = work(f"import sys\ndef load(d): return 0\ndef predict(m, rows): {end}")
    worker.hello()

    worker.ask(1)

    assert worker.predictions().type == "model_error"
    assert worker.process.poll() is None


def test_user_code_that_ends_the_process_ends_the_channel(work):
    worker = work("import os\ndef load(d): return 0\ndef predict(m, rows): os._exit(9)")
    worker.hello()

    worker.ask(1)

    assert worker.channel.recv(1) == b""
    assert worker.process.wait(10) == 9


def test_a_process_that_user_code_forked_holds_no_end_of_the_channel(work):
    worker = work(
        """
import os, time
def load(d):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
def predict(m, rows): os._exit(9)
"""
    )
    worker.hello()
    try:
        worker.ask(1)
        assert worker.channel.recv(1) == b""
    finally:
        os.killpg(worker.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_takes_no_answer_away(work, number):
    worker = work(
        "import time\ndef load(d): pass\ndef predict(m, rows): time.sleep(0.3); return rows"
    )
    worker.hello()
    worker.ask(1)
    os.killpg(worker.process.pid, number)

    assert worker.predictions() == [1]
    worker.ask(2)
    assert worker.predictions() == [2]


def test_processes_that_user_code_starts_end_as_any_other(work):
    worker = work(
        """
import multiprocessing, time
def load(d): pass
def predict(m, rows):
    ends = []
    for _ in range(20):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()  # in its first moment, as like as not
        child.join(10)
        ends.append(child.exitcode)
    return [sorted(set(ends))]
"""
    )
    worker.hello()

    worker.ask(1)

    assert worker.predictions() == [[-signal.SIGTERM]]


STREAM = """
import time
def load(d): return None
def predict(m, rows):
    try:
        for n in range(rows[0]):
            print("item", n)
            yield {"n": n}
            time.sleep(0.01)
    finally:
        print("closed")
"""


def test_a_stream_comes_item_by_item_and_ends(work):
    worker = work(STREAM)
    assert worker.hello().streams

    worker.say(Kind.STREAM, 3, b'{"instances": [2]}')

    assert [worker.hear() for _ in range(3)] == [
        (Kind.ITEM, 3, b'{"n":0}'),
        (Kind.ITEM, 3, b'{"n":1}'),
        (Kind.END, 3, b"{}"),
    ]


def test_a_cancelled_stream_ends_and_the_next_call_is_answered(work):
    worker = work(STREAM)
    worker.hello()
    worker.say(Kind.STREAM, 3, b'{"instances": [100000]}')
    worker.hear()

    worker.say(Kind.CANCEL, 3)
    worker.ask(1, call=4)

    heard = []
    while not heard or heard[-1][0] is not Kind.REPLY:
        heard.append(worker.hear())
    assert [(kind, call) for kind, call, _ in heard[-2:]] == [(Kind.END, 3), (Kind.REPLY, 4)]
    assert "closed" in worker.log.read_text()


def test_a_cancel_that_comes_too_late_changes_nothing(work):
    worker = work(DOUBLE)
    worker.hello()
    worker.ask(1, call=1)
    worker.say(Kind.CANCEL, 1)
    worker.ask(2, call=2)

    assert [worker.predictions(), worker.predictions()] == [[2], [4]]


def test_a_call_that_never_ends_is_left_when_the_server_is_gone(work):
    worker = work("import time\ndef load(d): pass\ndef predict(m, rows): time.sleep(600)")
    worker.hello()
    worker.ask(1)
    time.sleep(0.1)

    worker.channel.close()

    assert worker.process.wait(15) == 0


def test_an_answer_too_large_for_a_frame_is_an_error_of_the_model(work):
    worker = work("def load(d): pass\ndef predict(m, rows): return ['x' * 300 * 2**20]")
    worker.hello()

    worker.ask(1, call=5)

    kind, call, payload = worker.hear()
    assert (kind, call) == (Kind.PROBLEM, 5)
    assert problems.read(payload).message == "the model's answer is 300 MiB, more than 256"


def test_an_error_that_names_what_is_no_text_is_told_as_text(work):
    # A file's name may be one: bytes that are no UTF-8 stand as halves of surrogate pairs.
    worker = work("def load(d): pass\ndef predict(m, rows): raise ValueError('caf\\udce9')")
    worker.hello()

    worker.ask(1)

    assert worker.predictions().message == "the model raised ValueError: caf?"


def test_what_is_no_frame_ends_it(work):
    worker = work(DOUBLE)
    worker.hello()

    worker.channel.sendall(b"\xff" * 64)

    assert worker.channel.recv(1) == b""
    assert worker.process.wait(10) == 0
