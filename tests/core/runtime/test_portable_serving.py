"""The serving side answers for all three styles, refuses bad input, and ends by itself."""

import concurrent.futures
import hashlib
import http.client
import io
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from freelane.model.artifact import ArtifactHandle, FileDigest, Manifest
from freelane.model.endpoint import EndpointSpec, RateLimits
from freelane.runtime import bundle

SCRIPTS = Path(__file__).parent / "cloud_scripts"
TOKEN = "a-token-that-is-long-enough"
DOUBLE = "def load(d): return 2\ndef predict(m, rows): return [m * r[0] for r in rows]\n"


class Served:
    """One endpoint's process and how to call it."""

    def __init__(self, process, ready: Path, log: Path):
        self.process = process
        self.ready = ready
        self.log = log

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while not self.ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.01)
        return json.loads(self.ready.read_text())

    @property
    def port(self):
        return self.wait_ready()["port"]

    def call(self, method, path, body=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items() if v is not None}
        headers.setdefault("Authorization", f"Bearer {TOKEN}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def predict(self, body, **headers):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers.setdefault("Content_Type", "application/json")
        status, _, text = self.call("POST", "/v1/endpoints/demo/predict", body, **headers)
        return status, json.loads(text)

    def invoke(self, body, **headers):
        return self.call("POST", "/invocations", body, **headers)

    def raw(self, data: bytes, *, timeout: float = 20) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            got = b""
            while piece := sock.recv(65536):
                got += piece
            return got


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(script, *, files=None, more=None, python=sys.executable, rate=None, **env):
        count = len(running)
        source = tmp_path / f"source{count}"
        model = tmp_path / f"model{count}"
        for folder, contents in ((source, {"predict.py": script, **(more or {})}), (model, files)):
            folder.mkdir()
            for name, content in (contents or {}).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        spec = EndpointSpec(
            project="demo",
            name="demo",
            source=source,
            files=bundle.collect(source, exclude=(), script="predict.py"),
            script="predict.py",
            artifact=ArtifactHandle("0", str(model)),
            rate=rate or RateLimits(),
        )
        work = tmp_path / f"work{count}"
        written = bundle.write(spec, work)
        token = tmp_path / "token"
        token.write_text(TOKEN)
        ready, log = tmp_path / f"ready{count}.json", tmp_path / f"log{count}"
        manifest = tmp_path / f"manifest{count}.json"
        if not manifest.exists():
            manifest.write_text(manifest_of(model).to_json())
        environ = {
            **{k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ},
            "FREELANE_MODEL_DIR": str(model),
            "FREELANE_MANIFEST": str(manifest),
            "FREELANE_SERVE_PORT": "0",
            "FREELANE_SERVE_TOKEN_FILE": str(token),
            "FREELANE_SERVE_NAME": "demo",
            "FREELANE_SERVE_READY_FILE": str(ready),
            **{k: v for k, v in env.items() if k.isupper()},
        }
        options = {k: v for k, v in env.items() if not k.isupper()}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(python), *written.argv[1:]],
                cwd=work,
                env=environ,
                stdout=output,
                stderr=output,
                **options,
            )
        running.append(process)
        return Served(process, ready, log)

    yield start
    for process in running:
        process.kill()
        process.wait()


def manifest_of(folder: Path) -> Manifest:
    files = [
        FileDigest(
            p.relative_to(folder).as_posix(),
            p.stat().st_size,
            hashlib.sha256(p.read_bytes()).hexdigest(),
        )
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    ]
    return Manifest(files=tuple(files), python="3.11.7", created=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    """A real model of real digits, trained once, and rows to ask it about."""
    data = load_digits()
    model = LogisticRegression(max_iter=2000).fit(data.data[:500] / 16, data.target[:500])
    path = tmp_path_factory.mktemp("digits") / "model.joblib"
    joblib.dump(model, path)
    rows = data.data[1500:1510] / 16
    return path.read_bytes(), rows.tolist(), model.predict(rows).tolist()


# --- the three styles


def test_freelanes_own_style_predicts_the_whole_batch(serve):
    served = serve(DOUBLE)
    assert served.predict({"instances": [[1], [2.5]]}) == (200, {"predictions": [2, 5.0]})


def test_predict_may_take_parameters(serve):
    served = serve("def load(d): pass\ndef predict(m, rows, parameters): return [parameters]\n")
    assert served.predict({"instances": [1], "parameters": {"k": 3}})[1]["predictions"] == [
        {"k": 3}
    ]


def test_a_stdlib_model_is_served_from_a_copied_folder_by_python_3_9(serve, oldest_python):
    served = serve(
        (SCRIPTS / "stdlib_predict.py").read_text(),
        files={"model.json": '{"slope": 3.0}'},
        python=oldest_python,
    )
    assert served.predict({"instances": [[2]]}) == (200, {"predictions": [6.0]})
    assert served.predict(b'{"instances": [NaN]}')[0] == 400


def test_a_sagemaker_script_serves_real_digits_on_both_routes(serve, digits_model):
    content, rows, expected = digits_model
    served = serve((SCRIPTS / "sagemaker_sklearn.py").read_text(), files={"model.joblib": content})
    assert served.predict({"instances": rows})[1]["predictions"] == expected
    csv = "\n".join(",".join(map(str, row)) for row in rows)
    status, headers, body = served.invoke(csv, Content_Type="text/csv; charset=utf-8")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["predictions"] == expected


def test_a_model_fn_alone_gets_the_containers_defaults_for_every_type(serve, digits_model):
    content, rows, expected = digits_model
    served = serve(
        "import joblib, os\ndef model_fn(d): return joblib.load(os.path.join(d, 'model.joblib'))\n",
        files={"model.joblib": content},
    )
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows))
    answers = {}
    for kind, body in {
        "application/json": json.dumps(rows).encode(),
        "text/csv": "\n".join(",".join(map(str, row)) for row in rows).encode(),
        "application/x-npy": buffer.getvalue(),
    }.items():
        status, headers, answers[kind] = served.invoke(body, Content_Type=kind, Accept=kind)
        assert (status, headers["Content-Type"]) == (200, kind)
    assert json.loads(answers["application/json"]) == expected
    assert [int(line) for line in answers["text/csv"].split()] == expected
    assert np.load(io.BytesIO(answers["application/x-npy"])).tolist() == expected
    assert served.predict({"instances": rows})[1]["predictions"] == expected


def test_a_pickled_npy_body_is_refused_and_never_run(serve, tmp_path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
    served = serve("def model_fn(d): return lambda rows: rows\n")
    for body in (buffer.getvalue(), pickle.dumps(Evil())):
        assert served.invoke(body, Content_Type="application/x-npy")[0] == 400
    assert not canary.exists()


def test_a_class_pickled_by_the_training_script_itself_is_found_again(serve):
    # As `python train.py` leaves it: the class is known by __main__.
    pickled = b"\x80\x03c__main__\nDoubler\nq\x00)\x81q\x01."
    script = (SCRIPTS / "sagemaker_abalone.py").read_text()
    served = serve(script, files={"model.pkl": pickled})
    status, headers, body = served.invoke("1,2\n3,4\n", Content_Type="text/csv", Accept="text/csv")
    assert (status, headers["Content-Type"]) == (200, "text/csv")
    assert body == b"2.0,4.0\n6.0,8.0\n"
    assert served.predict({"instances": [[1, 2]]})[1] == {"predictions": [{"instances": [[2, 4]]}]}


def test_a_transform_fn_and_the_context_variants_are_called_as_the_toolkits_call_them(serve):
    served = serve(
        "import json\n"
        "def model_fn(model_dir, context): return context.system_properties['model_dir'] != ''\n"
        "def transform_fn(model, body, content_type, accept):\n"
        "    assert isinstance(body, str) and model is True\n"
        "    return json.dumps([content_type, accept, json.loads(body)]), accept\n"
    )
    body = served.invoke("[1]", Content_Type="application/json", Accept="application/json")[2]
    assert json.loads(body) == ["application/json", "application/json", [1]]


def test_an_input_fn_that_reads_a_bare_list_or_inputs_is_sent_that(serve):
    for read in ("[x for x in json.loads(b)]", "json.loads(b)['inputs']"):
        served = serve(
            "import json\ndef model_fn(d): return 1\n"
            f"def input_fn(b, t): value = {read}; assert value == [[1]]; return value\n"
            "def predict_fn(data, model): return [9]\n"
        )
        assert served.predict({"instances": [[1]]})[1] == {"predictions": [9]}


SHAPES = {
    "instances, in predict_fn alone": (
        "def input_fn(b, t): return json.loads(b)\n"
        "def predict_fn(data, model): ran(); return [sum(row) for row in data['instances']]\n"
    ),
    "instances, in a function of its own": (
        "def rows_of(body): return body.get('instances')\n"
        "def input_fn(b, t): return json.loads(b)\n"
        "def predict_fn(data, model): ran(); return [sum(row) for row in rows_of(data)]\n"
    ),
    "csv, whatever its type": (
        "def input_fn(b, t):\n"
        "    return [[float(cell) for cell in row] for row in csv.reader(io.StringIO(b))]\n"
        "def predict_fn(data, model): ran(); return [sum(row) for row in data]\n"
    ),
    "npy alone": (
        "import numpy as np\n"
        "def input_fn(b, t): assert t == 'application/x-npy'; return np.load(io.BytesIO(b))\n"
        "def predict_fn(data, model): ran(); return data.sum(axis=1)\n"
    ),
    "csv, in a transform_fn that joins its predictions": (
        "def transform_fn(model, b, t, accept):\n"
        "    ran()\n"
        "    if t != 'text/csv': raise ValueError(t)\n"
        "    sums = [sum(map(float, line.split(','))) for line in b.splitlines()]\n"
        "    return ','.join(map(str, sums)), 'text/csv'\n"
    ),
    "an output_fn that writes CSV alone": (
        "def input_fn(b, t):\n"
        "    return [[float(cell) for cell in row] for row in csv.reader(io.StringIO(b))]\n"
        "def predict_fn(data, model): ran(); return [sum(row) for row in data]\n"
        "def output_fn(result, accept):\n"
        "    if accept != 'text/csv': raise ValueError(accept)\n"
        "    return '\\n'.join(map(str, result))\n"
    ),
}
PREAMBLE = (
    "import csv, io, json\n"
    "def ran(): print('the model ran', flush=True)\n"
    "def model_fn(d): return 1\n"
)


@pytest.mark.parametrize("style", SHAPES)
def test_a_script_is_sent_the_shape_that_it_reads_and_runs_its_model_once(serve, style):
    served = serve(PREAMBLE + SHAPES[style])
    assert served.predict({"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [3, 7]})
    assert served.log.read_text().count("the model ran") == 1


def test_a_predict_fn_that_fails_is_not_called_again(serve):
    served = serve(
        PREAMBLE + "def input_fn(b, t): return json.loads(b)\n"
        "def predict_fn(data, model): ran(); raise OSError('the database is down')\n"
    )
    status, answer = served.predict({"instances": [[1]]})
    assert status == 500
    assert "the database is down" in answer["error"]["message"]
    assert served.log.read_text().count("the model ran") == 1


def test_a_script_that_reads_one_record_gets_one_for_each_instance(serve):
    served = serve(
        PREAMBLE + "def input_fn(b, t): record = json.loads(b); return record['a'] + record['b']\n"
        "def predict_fn(data, model): ran(); return {'sum': data}\n"
    )
    rows = [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    answer = {"predictions": [{"sum": 3}, {"sum": 7}]}
    assert served.predict({"instances": rows}) == (200, answer)
    assert served.log.read_text().count("the model ran") == 2


def test_a_script_for_the_hugging_face_toolkit_runs_without_it(serve):
    served = serve(
        "from sagemaker_huggingface_inference_toolkit import decoder_encoder\n"
        "def model_fn(d): return 1\n"
        "def transform_fn(model, body, content_type, accept):\n"
        "    texts = decoder_encoder.decode(body, content_type).pop('inputs')\n"
        "    return decoder_encoder.encode([{'length': len(t)} for t in texts], accept)\n"
    )
    answer = {"predictions": [{"length": 2}, {"length": 3}]}
    assert served.predict({"instances": ["ab", "abc"]}) == (200, answer)
    headers = {"Content_Type": "text/csv", "Accept": "text/csv"}
    assert served.invoke("inputs\nab\n", **headers)[2] == b"length\r\n2\r\n"


def test_a_script_is_told_the_content_type_as_its_caller_wrote_it(serve):
    served = serve(
        PREAMBLE + "def input_fn(b, t): return [t, *map(json.loads, b.decode().splitlines())]\n"
        "def predict_fn(data, model): return data\n"
    )
    answer = served.invoke("1\n2\n", Content_Type="application/jsonlines; charset=utf-8")
    assert json.loads(answer[2]) == ["application/jsonlines", 1, 2]


def test_a_package_below_src_serves_what_it_trained(serve):
    served = serve(
        "from acme.io import Adder\n"
        "def load(d): return Adder()\n"
        "def predict(model, rows): return [model.add(row) for row in rows]\n",
        more={
            "src/acme/__init__.py": "",
            "src/acme/io.py": "class Adder:\n    def add(self, row): return sum(row)\n",
        },
    )
    assert served.predict({"instances": [[1, 2]]})[1] == {"predictions": [3]}


def test_a_predict_fn_that_reads_inputs_gets_the_object_as_it_was_sent(serve):
    served = serve(
        "def model_fn(d): return 2\n"
        "def predict_fn(data, model): return [model * len(text) for text in data['inputs']]\n"
    )
    status, _, body = served.invoke('{"inputs": ["abc"]}', Content_Type="application/json")
    assert (status, json.loads(body)) == (200, [6])
    assert served.predict({"instances": ["abc", "d"]})[1] == {"predictions": [6, 2]}


def test_parameters_travel_beside_what_the_script_reads(serve):
    for name in ("inputs", "instances"):
        served = serve(
            PREAMBLE + "def input_fn(b, t): return json.loads(b)\n"
            "def predict_fn(data, model):\n"
            f"    return [len(text) * data['parameters']['times'] for text in data['{name}']]\n"
        )
        asked = {"instances": ["abc", "d"], "parameters": {"times": 2}}
        assert served.predict(asked)[1] == {"predictions": [6, 2]}


def test_a_custom_prediction_routine_runs_without_the_sdk(serve):
    script = (SCRIPTS / "vertex_predictor.py").read_text()
    served = serve(
        script,
        files={"scaler.json": '{"scale": 10}'},
        AIP_HEALTH_ROUTE="/health",
        AIP_PREDICT_ROUTE="/predict",
    )
    body = json.dumps({"instances": [[1, 2], [3, 4]]})
    status, _, answer = served.call("POST", "/predict", body, Content_Type="application/json")
    assert (status, json.loads(answer)) == (200, {"predictions": [30, 70]})
    assert served.call("GET", "/health", Authorization="")[0] == 200
    assert served.predict(body)[1] == {"predictions": [30, 70]}


def test_a_routine_on_the_prebuilt_sklearn_predictor_runs(serve, digits_model):
    content, rows, expected = digits_model
    script = (SCRIPTS / "vertex_sklearn_predictor.py").read_text()
    served = serve(script, files={"model.joblib": content})
    answer = served.predict({"instances": rows})[1]["predictions"]
    assert answer == [f"digit-{label}" for label in expected]


def test_a_class_that_is_only_shaped_like_a_predictor_runs(serve):
    served = serve(
        "class Mine:\n"
        "    def load(self, uri): self.k = 3\n"
        "    def predict(self, request): return [self.k * x for x in request['instances']]\n"
    )
    assert served.predict({"instances": [1, 2]})[1] == {"predictions": [3, 6]}


# --- results


def test_numpy_results_become_plain_json(serve):
    served = serve(
        "import numpy as np\ndef load(d): pass\n"
        "def predict(m, rows):\n"
        "    return [np.float32(1.5), np.arange(2), (np.bool_(True), None), {'a': np.int64(3)}]\n"
    )
    assert served.predict({"instances": [1]})[1]["predictions"] == [
        1.5,
        [0, 1],
        [True, None],
        {"a": 3},
    ]


def test_a_nan_in_a_result_is_an_error_that_names_it(serve):
    served = serve("def load(d): pass\ndef predict(m, r): return [1.0, float('nan')]\n")
    status, answer = served.predict({"instances": [1]})
    assert status == 500
    assert "nan in predictions[1]" in answer["error"]["message"]


def test_a_generator_streams_lines_and_is_collected_for_who_asks_for_json(serve):
    served = serve("def load(d): pass\ndef predict(m, rows):\n    for r in rows: yield r + 1\n")
    body = json.dumps({"instances": [1, 2]})
    kind = {"Content_Type": "application/json", "Accept": "application/x-ndjson"}
    status, headers, text = served.call("POST", "/v1/endpoints/demo/predict", body, **kind)
    assert (status, headers["Transfer-Encoding"]) == (200, "chunked")
    assert [json.loads(line) for line in text.splitlines()] == [
        {"prediction": 2},
        {"prediction": 3},
    ]
    assert served.predict(body) == (200, {"predictions": [2, 3]})


def test_a_stream_that_fails_midway_ends_with_the_error(serve):
    served = serve(
        "def load(d): pass\ndef predict(m, rows):\n    yield 1\n    raise KeyError('x')\n"
    )
    kind = {"Content_Type": "application/json", "Accept": "application/x-ndjson"}
    _, _, text = served.call("POST", "/v1/endpoints/demo/predict", '{"instances": [1]}', **kind)
    first, last = [json.loads(line) for line in text.splitlines()]
    assert first == {"prediction": 1}
    assert last["error"]["type"] == "model_error"


# --- bad input


DEEP = b"[" * 100_000
BAD = {
    "empty": (b"", 400),
    "blank": (b"  \n", 400),
    "nan": (b'{"instances": [NaN]}', 400),
    "infinity": (b'{"instances": [-Infinity]}', 400),
    "1e999": (b'{"instances": [1e999]}', 400),
    "long float": (b'{"instances": [' + b"9" * 400 + b".0]}", 400),
    "mantissa and exponent": (b'{"instances": [' + b"9" * 250 + b"e99]}", 400),
    "huge integer": (b'{"instances": [' + b"9" * 5000 + b"]}", 400),
    "negative huge integer": (b'{"instances": [-' + b"9" * 400 + b"]}", 400),
    "lone surrogate": (b'{"instances": ["\\ud800"]}', 400),
    "lone surrogate in a key": (b'{"instances": [{"\\udfff": 1}]}', 400),
    "bad utf-8": (b'{"instances": ["\xff"]}', 400),
    "raw surrogate bytes": (b'{"instances": ["\xed\xa0\x80"]}', 400),
    "utf-16": ('{"instances": [1]}'.encode("utf-16"), 400),
    "bom": (b"\xef\xbb\xbf" + b'{"instances": [1]}', 400),
    "deep": (b'{"instances": ' + b"[" * 70 + b"]" * 70 + b"}", 400),
    "very deep and open": (DEEP, 400),
    "deep objects": (b'{"a":' * 70 + b"1" + b"}" * 70, 400),
    "deep behind a string": (b'{"x": "\\"[[", "instances": ' + b"[" * 80 + b"]" * 80 + b"}", 400),
    "mixed brackets": (b"[}" * 100, 400),
    "quotes": (b'"' + b'\\"' * 50_000, 400),
    "truncated": (b'{"instances": [1', 400),
    "two values": (b'{"instances": [1]} {}', 400),
    "single quotes": (b"{'instances': [1]}", 400),
    "nul": (b'{"instances": ["\x00"]}', 400),
    "a list": (b"[1]", 422),
    "a number": (b"1", 422),
    "null": (b"null", 422),
    "no instances": (b'{"rows": [1]}', 422),
    "instances is text": (b'{"instances": "abc"}', 422),
    "instances is an object": (b'{"instances": {"a": 1}}', 422),
    "parameters is a list": (b'{"instances": [1], "parameters": [1]}', 422),
}


@pytest.fixture(scope="module")
def module_serve(tmp_path_factory):
    """One endpoint for all of the corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "predict.py").write_text("def load(d): pass\ndef predict(m, rows): return rows\n")
    (folder / "model").mkdir()
    spec = EndpointSpec(
        project="demo",
        name="demo",
        source=folder,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(folder / "model")),
    )
    written = bundle.write(spec, folder / "work")
    (folder / "token").write_text(TOKEN)
    environ = {
        "PATH": os.environ["PATH"],
        "FREELANE_MODEL_DIR": str(folder / "model"),
        "FREELANE_SERVE_PORT": "0",
        "FREELANE_SERVE_TOKEN_FILE": str(folder / "token"),
        "FREELANE_SERVE_READY_FILE": str(folder / "ready"),
    }
    argv = [sys.executable, *written.argv[1:]]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder / "work", env=environ, stdout=log, stderr=log)
    yield Served(process, folder / "ready", folder / "log")
    process.kill()
    process.wait()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_the_callers_error_and_never_a_5xx(module_serve, case):
    body, expected = BAD[case]
    status, answer = module_serve.predict(body)
    assert status == expected
    assert set(answer["error"]) == {"type", "message", "request_id"}


@pytest.mark.parametrize("case", BAD)
def test_bad_json_is_no_5xx_on_the_container_route_either(module_serve, case):
    status = module_serve.invoke(BAD[case][0], Content_Type="application/json")[0]
    assert status < 500


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"a,b", "application/x-tar", 415),
        (b"\xff\xfe", "text/csv", 400),
        (b'"open', "text/csv", 400),
        (b"", "text/csv", 400),
        (b"not npy", "application/x-npy", 400),
        (b"\x93NUMPY\x01\x00\xff\xff", "application/x-npy", 400),
        (b"[1]\n{", "application/x-ndjson", 400),
    ],
)
def test_a_bad_body_of_another_type_is_the_callers_error(module_serve, body, kind, expected):
    assert module_serve.invoke(body, Content_Type=kind)[0] == expected


def test_a_reply_that_cannot_be_what_the_caller_accepts_is_406(module_serve):
    ragged = b'{"instances": [[1], [2, "x"]]}'
    for accept in ("application/x-npy", "image/png"):
        status = module_serve.invoke(ragged, Content_Type="application/json", Accept=accept)[0]
        assert status == 406


def test_what_is_just_within_the_limits_is_answered(module_serve):
    deep = "[" * 62 + "]" * 62
    for instance in (deep, "9" * 308, '"\\ud83d\\ude00"', "1e308", '"[[[[' + "[" * 100 + '"'):
        status, _ = module_serve.predict(f'{{"instances": [{instance}]}}')
        assert status == 200, instance


def test_a_large_body_of_brackets_is_judged_quickly(module_serve):
    body = b'{"instances": [' + b",".join([b"[1]"] * 500_000) + b"]}"
    started = time.monotonic()
    assert module_serve.predict(body)[0] == 200
    assert time.monotonic() - started < 10


def test_a_wrong_content_type_is_415_on_the_native_route(module_serve):
    assert module_serve.predict(b"1,2", Content_Type="text/csv")[0] == 415


def test_a_body_of_more_than_10_mb_is_refused_before_it_is_read(module_serve):
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Length: 10485761\r\n\r\n"
    )
    assert module_serve.raw(head.encode()).startswith(b"HTTP/1.1 413 ")


def chunked(*pieces: bytes, extra: str = "") -> bytes:
    head = (
        "POST /v1/endpoints/demo/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n{extra}\r\n"
    )
    return head.encode() + b"".join(pieces)


def test_a_chunked_body_is_read(module_serve):
    body = b'{"instances": [1]}'
    pieces = [b"%x;ext=1\r\n%s\r\n" % (1, body[n : n + 1]) for n in range(len(body))]
    answer = module_serve.raw(chunked(*pieces, b"0\r\nTrailer: x\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"predictions":[1]}')


def test_megabytes_in_tiny_chunks_are_refused_in_time(module_serve):
    started = time.monotonic()
    answer = module_serve.raw(chunked(b"1\r\n1\r\n" * 101_000))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 10


BODY = b'{"instances": [1]}'
POST = "POST /v1/endpoints/demo/predict HTTP/1.1\r\n"
HOST = "Host: localhost\r\n"
MALFORMED = {
    "both lengths": (chunked(b"0\r\n\r\n", extra="Content-Length: 5\r\n"), 400),
    "bad chunk size": (chunked(b"zz\r\n"), 400),
    "negative chunk": (chunked(b"-1\r\n\r\n"), 400),
    "huge chunk size": (chunked(b"fffffffff\r\n"), 400),
    "large chunk": (chunked(b"ffffffff\r\n"), 413),
    "chunk that lies": (chunked(b"2\r\nabcd\r\n0\r\n\r\n"), 400),
    "two lengths": (f"{POST}{HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(), 400),
    "length list": (f"{POST}{HOST}Content-Length: 1, 1\r\n\r\n".encode(), 400),
    "signed length": (f"{POST}{HOST}Content-Length: +1\r\n\r\n".encode(), 400),
    "other coding": (f"{POST}{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n".encode(), 400),
    "no length": (f"{POST}{HOST}\r\n".encode(), 411),
    "no host": (f"{POST}\r\n".encode(), 400),
    "two hosts": (f"{POST}{HOST}{HOST}\r\n".encode(), 400),
    "folded header": (f"{POST}{HOST}X: 1\r\n 2\r\n\r\n".encode(), 400),
    "space before colon": (f"{POST}{HOST}Content-Length : 1\r\n\r\n".encode(), 400),
    "bare line feed": (f"{POST}{HOST}X: 1\nY: 2\r\n\r\n".encode(), 400),
    "no version": (b"GET /ping\r\n\r\n", 400),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x00\xa5\r\n\r\n", 400),
    "large head": (b"GET /ping HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_http_is_refused_and_the_connection_ends(module_serve, case):
    data, expected = MALFORMED[case]
    if b"Authorization" not in data:
        data = data.replace(HOST.encode(), f"{HOST}Authorization: Bearer {TOKEN}\r\n".encode(), 1)
    assert module_serve.raw(data).startswith(f"HTTP/1.1 {expected} ".encode())


# --- who may ask


def test_every_route_but_health_needs_the_token(module_serve):
    for path in ("/v1/endpoints/demo/predict", "/invocations"):
        for wrong in ("", "Bearer no", "Bearer ", f"Basic {TOKEN}", "' OR 1=1 --", "Bearer é"):
            status = module_serve.call("POST", path, BODY, Authorization=wrong)[0]
            assert status == 401, (path, wrong)
    assert module_serve.call("GET", "/ping", Authorization="")[0] == 200
    assert module_serve.call("GET", "/healthz", Authorization="")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"bearer {TOKEN}"},
        {"Authorization": "", "x_goog_api_key": TOKEN},
        {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={TOKEN}/20260101/us-east-1/sagemaker/"
            "aws4_request, SignedHeaders=host, Signature=00"
        },
    ],
)
def test_the_token_comes_in_three_ways(module_serve, headers):
    assert module_serve.predict(BODY, **headers)[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_a_foreign_host_or_origin_is_refused_on_every_method(module_serve, method):
    for headers in (
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
    ):
        for path in ("/ping", "/invocations"):
            assert module_serve.call(method, path, **headers)[0] == 403, headers


def test_its_own_origin_and_loopback_names_are_let_in(module_serve):
    port = module_serve.port
    assert module_serve.predict(BODY, Host=f"localhost:{port}")[0] == 200
    own = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}"}
    assert module_serve.predict(BODY, **own)[0] == 200


def test_other_routes_names_and_methods_are_404_and_405(module_serve):
    call = module_serve.call
    for path in ("/", "/v1/endpoints/other/predict", "/v1/endpoints/%64emo/predict", "//ping"):
        assert call("POST", path, BODY)[0] == 404, path
    status, headers, _ = call("GET", "/v1/endpoints/demo/predict")
    assert (status, headers["Allow"]) == (405, "POST")
    assert call("DELETE", "/ping")[0] == 405


def test_an_endpoint_enforces_its_own_rate(serve):
    served = serve(DOUBLE, rate=RateLimits(per_minute=2))
    assert [served.predict({"instances": [[1]]})[0] for _ in range(3)] == [200, 200, 429]
    assert served.call("GET", "/ping")[0] == 200


# --- user code that misbehaves


def test_user_code_that_raises_is_500_without_traceback_path_or_pid(serve):
    served = serve("def load(d): pass\ndef predict(m, rows): return rows[0]['missing']\n")
    status, answer = served.predict({"instances": [{}]})
    assert status == 500
    assert answer["error"]["message"] == "the model raised KeyError: 'missing'"
    log = served.log.read_text()
    assert answer["error"]["request_id"] in log
    assert "Traceback" in log


def test_a_path_in_what_user_code_raises_stays_in_the_log(serve):
    served = serve("def load(d): pass\ndef predict(m, rows): open('/var/secret/weights.bin')\n")
    message = served.predict({"instances": [1]})[1]["error"]["message"]
    assert message.startswith("the model raised FileNotFoundError: ")
    assert "secret" not in message
    assert "/var/secret/weights.bin" in served.log.read_text()


def test_a_frameworks_own_http_error_keeps_its_status(serve):
    served = serve(
        "class HTTPException(Exception):\n    status_code = 422\n    detail = 'too wide'\n"
        "def load(d): pass\ndef predict(m, rows): raise HTTPException\n"
    )
    status, answer = served.predict({"instances": [1]})
    assert (status, answer["error"]["message"]) == (422, "too wide")


def test_sys_exit_in_user_code_ends_a_request_and_not_the_server(serve):
    served = serve("import sys\ndef load(d): pass\ndef predict(m, rows): sys.exit(rows[0])\n")
    assert served.predict({"instances": [0]})[0] == 500
    assert served.predict({"instances": [1]})[0] == 500


def test_what_user_code_prints_goes_to_the_log(serve):
    served = serve(
        "def load(d): pass\ndef predict(m, rows): print('HTTP/1.1 500 x'); return rows\n"
    )
    assert served.predict({"instances": [1]}) == (200, {"predictions": [1]})
    assert "HTTP/1.1 500 x" in served.log.read_text()


def test_the_model_is_called_by_one_request_at_a_time(serve):
    served = serve(
        "import time\ninside = []\ndef load(d): pass\n"
        "def predict(m, rows):\n"
        "    inside.append(1); n = len(inside); time.sleep(0.02); inside.pop(); return [n]\n"
    )
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.predict({"instances": [1]})[1], range(16)))
    assert answers == [{"predictions": [1]}] * 16


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "def load(d): raise OSError('no weights')\ndef predict(m, r): pass",
            "OSError: no weights",
        ),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def predict(m, r): pass", "predict.py has no load(model_dir)"),
        ("def input_fn(b, t): pass", "predict.py has input_fn, but no model_fn(model_dir)"),
        ("x = 1", "has neither load(model_dir) and predict(model, instances), nor model_fn"),
        ("def input_handler(data, context): pass", "which stand before TensorFlow Serving"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_a_load_failure_exits_3_and_says_why_in_the_ready_file(serve, script, reason):
    served = serve(script)
    assert served.process.wait(timeout=20) == 3
    assert reason in json.loads(served.ready.read_text())["error"]
    assert reason in served.log.read_text()


def test_a_changed_or_added_file_is_found_before_user_code_runs(serve, tmp_path):
    listed = FileDigest("model.bin", 3, hashlib.sha256(b"abc").hexdigest())
    manifest = Manifest(files=(listed,), python="", created=datetime(2026, 1, 1, tzinfo=UTC))
    script = f"open({str(tmp_path / 'ran')!r}, 'w')\n{DOUBLE}"
    for number, (files, reason) in enumerate(
        [
            ({"model.bin": "abd"}, "model.bin is not the one that was trained"),
            ({"model.bin": "abc", "extra.py": ""}, "holds extra.py"),
            ({}, "model.bin is missing"),
        ]
    ):
        (tmp_path / f"manifest{number}.json").write_text(manifest.to_json())
        served = serve(script, files=files)
        assert served.process.wait(timeout=20) == 3
        assert reason in json.loads(served.ready.read_text())["error"]
    assert not (tmp_path / "ran").exists()


def test_a_short_token_refuses_to_start(serve, tmp_path):
    (tmp_path / "short").write_text("short")
    served = serve(DOUBLE, FREELANE_SERVE_TOKEN_FILE=str(tmp_path / "short"))
    assert served.process.wait(timeout=20) == 2
    assert "16 characters" in served.log.read_text()


# --- its end


def test_it_exits_0_by_itself_when_its_time_is_over(serve):
    served = serve(DOUBLE, FREELANE_SERVE_EXPIRES_AT=str(time.time() + 1.5))
    served.wait_ready()
    assert served.process.wait(timeout=20) == 0


def test_it_exits_when_its_time_is_over_while_the_model_still_loads(serve):
    script = "import time\ndef load(d): time.sleep(60)\ndef predict(m, r): pass\n"
    served = serve(script, FREELANE_SERVE_EXPIRES_AT=str(time.time() + 0.8))
    assert served.process.wait(timeout=20) == 0


def test_it_exits_when_its_supervisor_dies(serve):
    reader, writer = os.pipe()
    served = serve(DOUBLE, FREELANE_SERVE_PARENT_FD=str(reader), pass_fds=(reader,))
    os.close(reader)
    served.wait_ready()
    os.close(writer)
    assert served.process.wait(timeout=20) == 0


def test_sigterm_finishes_what_runs_and_exits_0(serve):
    served = serve(
        "import time\ndef load(d): pass\n"
        "def predict(m, rows): print('begun', flush=True); time.sleep(1); return rows\n"
    )
    served.wait_ready()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.predict, {"instances": [1]})
        while "begun" not in served.log.read_text():
            time.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        assert answer.result() == (200, {"predictions": [1]})
    assert served.process.wait(timeout=20) == 0


def test_a_taken_port_is_said_and_exits_3(serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        served = serve(DOUBLE, FREELANE_SERVE_PORT=str(taken.getsockname()[1]))
        assert served.process.wait(timeout=20) == 3
    assert "cannot be listened on" in json.loads(served.ready.read_text())["error"]


# --- connections


def test_one_connection_serves_many_requests(module_serve):
    connection = http.client.HTTPConnection("127.0.0.1", module_serve.port, timeout=20)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for n in range(3):
        connection.request("POST", "/v1/endpoints/demo/predict", BODY, headers)
        reply = connection.getresponse()
        assert re.fullmatch(r"[0-9a-f]{32}", reply.getheader("x-request-id"))
        assert reply.read() == b'{"predictions":[1]}', n
    connection.close()


def test_more_idle_connections_than_it_holds_do_not_keep_a_probe_out(module_serve):
    idle = [socket.create_connection(("127.0.0.1", module_serve.port)) for _ in range(300)]
    try:
        started = time.monotonic()
        assert module_serve.call("GET", "/ping")[0] == 200
        assert time.monotonic() - started < 5
    finally:
        for sock in idle:
            sock.close()
