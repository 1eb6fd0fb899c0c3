"""`deploy --model`: an endpoint before an OpenAI-compatible engine, as small as one can be."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOML = """\
name = "tiny"

[providers.local.models.lama]
url = "{url}"
model = "llama3.2"
"""


class Engine(ThreadingHTTPServer):
    """Answers each message with its words, one a chunk."""

    daemon_threads = True
    key = None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked = []
        self.hung_up = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def end(self):
        self.shutdown()
        self.server_close()
        self._thread.join()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, asked))
        if self.server.key not in {None, self.headers["authorization"]}:
            self._whole(401, {"error": {"message": "wrong key", "type": "invalid_request_error"}})
        elif asked["messages"][-1]["content"] == "refuse":
            self._whole(400, {"error": {"message": "too rude", "type": "invalid_request_error"}})
        elif asked.get("stream"):
            self._stream(asked)
        else:
            message = {"role": "assistant", "content": self._text(asked)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            self._whole(200, {"choices": [choice], "usage": usage})

    def do_GET(self):
        self._whole(200, {"object": "list", "data": [{"id": "llama3.2", "object": "model"}]})

    def log_message(self, *_):
        """Nothing."""

    def _text(self, asked):
        return f"{asked['model']} says {asked['messages'][-1]['content']}"

    def _whole(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        words = self._text(asked).split(" ")
        if asked["messages"][-1]["content"] == "long":
            words *= 200
        try:
            for word in words:
                self._event({"choices": [{"index": 0, "delta": {"content": word + " "}}]})
                time.sleep(0.02)
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            self._event({"choices": [], "usage": usage})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except OSError:
            self.server.hung_up.set()
            self.close_connection = True

    def _event(self, document):
        self._chunk(b"data: " + json.dumps(document).encode() + b"\n\n")

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


@pytest.fixture
def engine():
    server = Engine()
    yield server
    server.end()


@pytest.fixture
def served(project, freelane, engine):
    """An endpoint before the engine; the project's own code and model play no part."""
    (project / "freelane.toml").write_text(TOML.format(url=engine.url))
    Path("predict.py").unlink()
    deployed = freelane("deploy", "--model", "lama", "--json")
    assert deployed.code == 0, deployed.out
    assert deployed.document["endpoint"]["name"] == "lama"
    return engine


def test_the_engine_answers_behind_the_endpoint(served, freelane):
    ran = freelane("chat", "-m", "hi", "--system", "Be brief.", "--temperature", "0", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "llama3.2 says hi \n", "")
    path, asked = served.asked[-1]
    assert (path, asked["model"], asked["temperature"]) == ("/v1/chat/completions", "llama3.2", 0)
    assert [said["role"] for said in asked["messages"]] == ["system", "user"]


def test_the_engines_own_count_of_tokens_is_told(served, freelane):
    told = freelane("chat", "-m", "hi", "--json").document["generation"]
    assert (told["text"].strip(), told["usage"]) == ("llama3.2 says hi", {"input": 7, "output": 3})
    assert "3 tokens in " in freelane("chat", "-m", "hi").err


def test_an_answer_that_is_left_early_stops_the_engine(served, freelane):
    ran = freelane("chat", "-m", "long", "--timeout", "500ms")
    assert ran.code == 5
    assert served.hung_up.wait(10)


def test_what_the_engine_refuses_is_an_invalid_request(served, freelane):
    ran = freelane("chat", "-m", "refuse")
    assert ran.code == 2
    assert "too rude" in ran.err


def test_an_engine_that_is_not_there_is_told_and_may_come_back(served, freelane):
    served.shutdown()
    served.socket.close()
    ran = freelane("chat", "-m", "hi")
    assert ran.code == 5
    assert "engine" in ran.err
    assert served.url not in ran.err


def test_the_same_engine_again_is_the_same_endpoint(served, freelane):
    plan = freelane("deploy", "--model", "lama", "--dry-run", "--json").document["plan"]
    assert plan["change"] == "nothing"
    url = freelane("endpoints", "--json").document["endpoints"][0]["url"]
    again = freelane("deploy", "--model", "lama", "--json").document["endpoint"]
    assert (again["url"], again["state"]) == (url, "READY")


def test_another_model_of_the_engine_takes_the_place_of_the_first(served, freelane, project):
    before = freelane("endpoints", "--json").document["endpoints"][0]["url"]
    text = (project / "freelane.toml").read_text().replace("llama3.2", "qwen")
    (project / "freelane.toml").write_text(text)
    changed = freelane("deploy", "--model", "lama", "--json")
    assert (changed.code, changed.document["endpoint"]["url"]) == (0, before)
    assert freelane("chat", "-m", "hi", "-q").out == "qwen says hi \n"
    assert freelane("deploy", "--rollback", "lama", "--quiet").code == 0
    assert freelane("chat", "-m", "hi", "-q").out == "llama3.2 says hi \n"


def test_an_engines_key_comes_from_the_environment_and_is_written_nowhere(
    project, freelane, engine, home, monkeypatch
):
    engine.key = "Bearer key-of-the-engine"
    toml = TOML.format(url=engine.url) + 'key_env = "LAMA_KEY"\n'
    (project / "freelane.toml").write_text(toml)
    monkeypatch.setenv("LAMA_KEY", "key-of-the-engine")
    assert freelane("deploy", "--model", "lama", "--quiet").code == 0
    assert freelane("chat", "-m", "hi", "-q").out == "llama3.2 says hi \n"
    files = [file for file in home.rglob("*") if file.is_file()]
    assert not [file for file in files if b"key-of-the-engine" in file.read_bytes()]


def test_a_rate_is_held_before_an_engine_too(project, freelane, engine):
    toml = TOML.format(url=engine.url) + "\n[deploy]\nrate = { per_hour = 2 }\n"
    (project / "freelane.toml").write_text(toml)
    assert freelane("deploy", "--model", "lama", "--quiet").code == 0
    assert [freelane("chat", "-m", "hi", "-q").code for _ in range(3)] == [0, 0, 4]
    assert len(engine.asked) == 2


def test_an_engine_is_no_model_of_the_project(served, freelane):
    ran = freelane("deploy")
    assert ran.code == 6
    assert "has no trained model to deploy" in ran.err
    assert "hint: freelane train or freelane deploy --model lama" in ran.err
    listed = freelane(
        "deploy", freelane("endpoints", "--json").document["endpoints"][0]["artifact"]
    )
    assert listed.code == 2
    assert "freelane deploy --model lama" in listed.err


def test_a_row_of_text_is_answered_by_the_engine_too(served, freelane):
    Path("rows.json").write_text(json.dumps(["hi", {"prompt": "ho"}]))
    ran = freelane("predict", "lama", "--data", "rows.json", "--quiet")
    assert (ran.code, ran.out) == (0, "llama3.2 says hi\nllama3.2 says ho\n")


def test_doctor_looks_at_the_engine(served, freelane):
    checks = freelane("doctor", "--provider", "local", "--json").document["checks"]
    (check,) = [check for check in checks if check["subject"] == "model lama"]
    assert check["outcome"] == "ok"
