"""A user's program, as the type checker sees it: pyright strict, never run."""

from typing import assert_type

from freelane import Client
from freelane.client.endpoints import Endpoint, Prediction
from freelane.client.jobs import Job
from freelane.model.lifecycle import EndpointState, JobState


def train_and_serve(rows: list[list[float]]) -> Prediction:
    with Client(provider="local", settings={"train.max_runtime": "10m"}) as client:
        job = client.jobs.train(hyperparameters={"C": 1.0, "solver": "lbfgs"})
        assert_type(job, Job)
        assert_type(job.state, JobState)
        assert_type(job.artifact, str | None)
        endpoint = client.endpoints.deploy(job.artifact, ttl="30m")
        assert_type(endpoint, Endpoint)
        assert_type(endpoint.state, EndpointState)
        prediction = endpoint.predict(rows)
        assert_type(prediction, Prediction)
        assert_type(endpoint.delete(), Endpoint)
        return prediction


def misuse(client: Client) -> None:
    client.jobs.train(hyperparameters={"C": [1]})  # pyright: ignore[reportArgumentType]
    client.endpoints.deploy(ttl=30)  # pyright: ignore[reportArgumentType]
    client.jobs.train("train.py")  # pyright: ignore[reportCallIssue]
