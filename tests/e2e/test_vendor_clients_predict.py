"""Applications written for SageMaker, Vertex AI or Triton ask a local endpoint, unchanged.

Only the address and the credentials are ours; the clients are the vendors' own.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import boto3
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from google.api import httpbody_pb2
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import PredictionServiceClient
from google.oauth2.credentials import Credentials
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

ADDER = """
def load(folder):
    return None

def predict(model, instances, parameters=None):
    plus = (parameters or {}).get("plus", 0)
    if any(row == [0, 0] for row in instances):
        raise ValueError("nothing to add")
    if any(isinstance(row, dict) for row in instances):
        return [{"sum": sum(row["a"]) + plus, "label": row["b"]} for row in instances]
    return [sum(row) + plus for row in instances]
"""
COUNTER = """
def load(folder):
    return None

def predict(model, instances):
    for row in instances:
        if row < 0:
            raise ValueError("below zero")
        yield row * 2
"""
SCRIPT = """
def model_fn(folder):
    return "model"

def input_fn(body, content_type):
    return content_type, body

def predict_fn(data, model):
    return data

def output_fn(data, accept):
    return "|".join([*data, accept]), "text/x-own"
"""


@dataclass
class Served:
    """A running server."""

    name: str
    folder: Path
    url: str
    token: str


@pytest.fixture(scope="module")
def serve(tmp_path_factory) -> Iterator:
    with ExitStack() as held:

        def start(name: str, predict: str) -> Served:
            folder = tmp_path_factory.mktemp(name)
            source, model = folder / "source", folder / "model"
            source.mkdir()
            model.mkdir()
            (folder / "s3" / "bucket").mkdir(parents=True)
            (source / "predict.py").write_text(predict)
            spec = EndpointSpec(
                project="tiny",
                name=name,
                source=source,
                files=("predict.py",),
                script="predict.py",
                artifact=ArtifactHandle("0", str(model)),
            )
            bundle.write(spec, folder / "work")
            token = secrets.token_urlsafe(32)
            (folder / "token").write_text(token)
            order = {
                "name": name,
                "bundle": str(folder / "work"),
                "python": sys.executable,
                "model": str(model),
                "token_file": str(folder / "token"),
                "ready_file": str(folder / "ready.json"),
                "async_folder": str(folder / "s3"),
            }
            (folder / "order.json").write_text(json.dumps(order))
            log = held.enter_context((folder / "log").open("wb"))
            argv = [sys.executable, "-P", "-m", "freelane.runtime.server", "order.json"]
            process = held.enter_context(
                subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, env=dict(os.environ))
            )
            held.callback(process.wait, 20)
            held.callback(process.send_signal, signal.SIGTERM)
            until(lambda: (folder / "ready.json").exists() or process.poll() is not None)
            ready = json.loads((folder / "ready.json").read_text())
            return Served(name, folder, f"http://127.0.0.1:{ready['port']}", token)

        yield start


def until(holds, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def adder(serve):
    return serve("adder", ADDER)


@pytest.fixture(scope="module")
def counter(serve):
    return serve("counter", COUNTER)


@pytest.fixture(scope="module")
def script(serve):
    return serve("script", SCRIPT)


# --- boto3


@pytest.fixture
def runtime():
    clients = []

    def connect(served, token=None):
        client = boto3.client(
            "sagemaker-runtime",
            endpoint_url=served.url,
            region_name="us-east-1",
            aws_access_key_id=token or served.token,
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def test_boto3_invokes_an_endpoint(runtime, adder):
    answer = runtime(adder).invoke_endpoint(
        EndpointName="adder",
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="mine",
        Body=json.dumps({"instances": [[1, 2], [3, 4]], "parameters": {"plus": 10}}),
    )
    assert json.loads(answer["Body"].read()) == {"predictions": [13, 17]}
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["ResponseMetadata"]["RequestId"]


def test_boto3_sends_other_bodies_to_the_models_own_functions(runtime, script):
    answer = runtime(script).invoke_endpoint(
        EndpointName="script", ContentType="text/csv", Accept="text/x-own", Body="1,2"
    )
    assert answer["Body"].read() == b"text/csv|1,2|text/x-own"
    assert answer["ContentType"] == "text/x-own"


def test_boto3_sends_csv_to_a_native_model(runtime, adder):
    answer = runtime(adder).invoke_endpoint(
        EndpointName="adder", ContentType="text/csv", Accept="text/csv", Body="1,2\n3,4\n"
    )
    assert answer["Body"].read() == b"3\n7\n"


def test_boto3_hears_of_a_model_that_raises(runtime, adder):
    client = runtime(adder)
    with pytest.raises(client.exceptions.ModelError) as failure:
        client.invoke_endpoint(
            EndpointName="adder", ContentType="application/json", Body="[[0, 0]]"
        )
    answer = failure.value.response
    assert answer["OriginalStatusCode"] == 500
    assert "nothing to add" in answer["OriginalMessage"]
    assert "nothing to add" in answer["Error"]["Message"]


def test_boto3_hears_of_an_endpoint_that_is_not_there(runtime, adder):
    client = runtime(adder)
    with pytest.raises(client.exceptions.ValidationError, match="other"):
        client.invoke_endpoint(EndpointName="other", Body="[[1]]")


def test_boto3_hears_of_a_wrong_key(runtime, adder):
    with pytest.raises(ClientError) as failure:
        runtime(adder, "x" * 20).invoke_endpoint(EndpointName="adder", Body="[[1]]")
    assert failure.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_boto3_reads_a_stream(runtime, counter):
    answer = runtime(counter).invoke_endpoint_with_response_stream(
        EndpointName="counter", ContentType="application/json", Body='{"instances": [1, 2, 3]}'
    )
    assert answer["ContentType"] == "application/x-ndjson"
    with closing(answer["Body"]) as body:
        parts = [event["PayloadPart"]["Bytes"] for event in body]
    assert [json.loads(part) for part in parts] == [
        {"prediction": 2},
        {"prediction": 4},
        {"prediction": 6},
    ]


def test_boto3_hears_of_a_stream_that_breaks(runtime, counter):
    answer = runtime(counter).invoke_endpoint_with_response_stream(
        EndpointName="counter", ContentType="application/json", Body='{"instances": [1, -1]}'
    )
    events = iter(answer["Body"])
    assert json.loads(next(events)["PayloadPart"]["Bytes"]) == {"prediction": 2}
    with pytest.raises(EventStreamError, match="below zero"):
        next(events)
    answer["Body"].close()


def test_boto3_invokes_asynchronously(runtime, adder):
    bucket = adder.folder / "s3" / "bucket"
    (bucket / "in.json").write_text('{"instances": [[1, 2]]}')
    answer = runtime(adder).invoke_endpoint_async(
        EndpointName="adder",
        InputLocation="s3://bucket/in.json",
        ContentType="application/json",
        InferenceId="mine",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "mine"
    output = adder.folder / "s3" / answer["OutputLocation"].removeprefix("s3://")
    until(output.exists)
    assert json.loads(output.read_bytes()) == {"predictions": [3]}


def test_boto3_hears_of_an_asynchronous_failure_by_a_file(runtime, adder):
    bucket = adder.folder / "s3" / "bucket"
    (bucket / "bad.json").write_text('{"instances": [[0, 0]]}')
    answer = runtime(adder).invoke_endpoint_async(
        EndpointName="adder", InputLocation="s3://bucket/bad.json", ContentType="application/json"
    )
    failure = adder.folder / "s3" / answer["FailureLocation"].removeprefix("s3://")
    until(failure.exists)
    assert "nothing to add" in json.loads(failure.read_bytes())["error"]["message"]


# --- google-cloud-aiplatform, over REST


@pytest.fixture
def vertex(adder):
    aiplatform.init(
        project="p",
        location="us-central1",
        api_endpoint=adder.url,
        api_transport="rest",
        credentials=Credentials(adder.token),
    )
    return aiplatform.Endpoint("1234567890")


def predictions_of(served, token=None):
    return PredictionServiceClient(
        client_options={"api_endpoint": served.url},
        transport="rest",
        credentials=Credentials(token or served.token),
    )


ENDPOINT = "projects/p/locations/us-central1/endpoints/123"


def test_aiplatform_predicts(vertex):
    answer = vertex.predict([[1, 2], [3, 4]], parameters={"plus": 1}, timeout=20)
    assert answer.predictions == [4.0, 8.0]
    assert answer.deployed_model_id == "1"


def test_aiplatform_hears_of_a_model_that_raises(vertex):
    with pytest.raises(exceptions.InternalServerError, match="nothing to add"):
        vertex.predict([[0, 0]], timeout=20)


def test_a_generated_client_hears_of_a_wrong_token(adder):
    # Told 401, it asks for a new token, which credentials of one static token cannot give.
    with predictions_of(adder, "x" * 20) as client, pytest.raises(RefreshError):
        client.predict(endpoint=ENDPOINT, instances=[[1, 2]], timeout=20)


def test_a_generated_client_hears_of_parameters_that_are_none(adder):
    with predictions_of(adder) as client, pytest.raises(exceptions.BadRequest):
        client.predict(endpoint=ENDPOINT, instances=[[1, 2]], parameters=[1], timeout=20)


def test_a_published_model_predicts(adder):
    name = "projects/p/locations/us-central1/publishers/google/models/any"
    with predictions_of(adder) as client:
        answer = client.predict(endpoint=name, instances=[[1, 2]], timeout=20)
    assert list(answer.predictions) == [3.0]
    assert answer.model == name


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("application/json", b'{"instances": [[1, 2]]}', b'{"predictions":[3]}'),
        ("text/csv", b"1,2\n3,4\n", b"3\n7\n"),
    ],
)
def test_a_generated_client_predicts_raw_bodies(adder, kind, data, expected):
    body = httpbody_pb2.HttpBody(content_type=kind, data=data)
    with predictions_of(adder) as client:
        answer = client.raw_predict(endpoint=ENDPOINT, http_body=body, timeout=20)
    assert (answer.content_type, answer.data) == (kind, expected)


def test_a_generated_client_reads_a_raw_stream(counter):
    body = httpbody_pb2.HttpBody(content_type="application/json", data=b'{"instances": [1, 2]}')
    with predictions_of(counter) as client:
        stream = client.stream_raw_predict(endpoint=ENDPOINT, http_body=body, timeout=20)
        assert [part.data for part in stream] == [b'{"prediction":2}\n', b'{"prediction":4}\n']


def test_a_generated_client_hears_that_nothing_explains(adder):
    with predictions_of(adder) as client, pytest.raises(exceptions.MethodNotImplemented):
        client.explain(endpoint=ENDPOINT, instances=[[1, 2]], timeout=20)


# --- tritonclient


@pytest.fixture
def triton_of():
    clients = []

    def connect(served):
        client = triton.InferenceServerClient(served.url.removeprefix("http://"))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def bearer(served):
    return {"Authorization": f"Bearer {served.token}"}


def tensor(name, datatype, array, *, binary=True):
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def test_triton_finds_the_server_and_the_model_ready(triton_of, adder):
    client = triton_of(adder)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("adder", headers=bearer(adder))
    assert client.get_server_metadata()["name"] == "freelane"
    assert client.get_model_metadata("adder", headers=bearer(adder))["name"] == "adder"


@pytest.mark.parametrize("binary", [True, False])
def test_triton_infers(triton_of, adder, binary):
    rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
    answer = triton_of(adder).infer(
        "adder",
        [tensor("x", "FP32", rows, binary=binary)],
        outputs=[triton.InferRequestedOutput("sums", binary_data=binary)],
        request_id="mine",
        headers=bearer(adder),
    )
    assert answer.as_numpy("sums").tolist() == [3.0, 7.0]
    assert answer.get_response()["id"] == "mine"


def test_triton_infers_from_several_inputs(triton_of, adder):
    answer = triton_of(adder).infer(
        "adder",
        [
            tensor("a", "INT64", np.array([[1, 2], [3, 4]])),
            tensor("b", "BYTES", np.array(["x", "y"], dtype=object)),
        ],
        headers=bearer(adder),
    )
    assert answer.as_numpy("sum").tolist() == [3, 7]
    assert answer.as_numpy("label").tolist() == [b"x", b"y"]


def test_triton_hears_of_a_model_that_raises(triton_of, adder):
    with pytest.raises(InferenceServerException, match="nothing to add"):
        triton_of(adder).infer(
            "adder", [tensor("x", "INT64", np.array([[0, 0]]))], headers=bearer(adder)
        )


def test_triton_hears_that_a_token_is_needed(triton_of, adder):
    with pytest.raises(InferenceServerException, match="token"):
        triton_of(adder).infer("adder", [tensor("x", "INT64", np.array([[1, 2]]))])
