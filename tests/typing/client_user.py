"""A user's program, as the type checker sees it: pyright strict, never run."""

from typing import assert_type

from freelane import Client
from freelane.client.endpoints import Endpoint, Prediction
from freelane.client.jobs import Job
from freelane.client.texts import Generation
from freelane.model.generation import Message, Piece, Role
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


def talk(client: Client) -> str:
    endpoint = client.endpoints.deploy(engine="chat")
    told = endpoint.generate("Hello", system="Be brief.", max_tokens=64, stop="END")
    assert_type(told, Generation)
    said = [Message(Role.USER, "Hello"), {"role": "assistant", "content": told.text}]
    for piece in client.endpoints.stream("local/chat", said, temperature=0.0):
        assert_type(piece, Piece)
    return told.text


def misuse(client: Client) -> None:
    client.jobs.train(hyperparameters={"C": [1]})  # pyright: ignore[reportArgumentType]
    client.endpoints.deploy(ttl=30)  # pyright: ignore[reportArgumentType]
    client.jobs.train("train.py")  # pyright: ignore[reportCallIssue]
    client.endpoints.generate("chat", "Hello", warmth=1)  # pyright: ignore[reportCallIssue]
