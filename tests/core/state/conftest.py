"""Records to store, each with only what a test wants different."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from freelane.model.artifact import Artifact, ArtifactHandle
from freelane.model.endpoint import Endpoint
from freelane.model.job import Job
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import Operation, Verb

CREATED = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


@pytest.fixture
def new_job() -> Callable[..., Job]:
    def make(job_id: str = "digits-1", **changes: object) -> Job:
        fields: dict[str, object] = {
            "id": job_id,
            "name": "digits",
            "project": "digits",
            "provider": "local",
            "emulated": False,
            "handle": None,
            "spec_hash": "5" * 64,
            "operation": "o-" + job_id,
            "state": JobState.PENDING,
            "detail": "",
            "created": CREATED,
        }
        return Job(**{**fields, **changes})

    return make


@pytest.fixture
def new_endpoint() -> Callable[..., Endpoint]:
    def make(name: str = "digits", operation: str = "1" * 32, **changes: object) -> Endpoint:
        fields: dict[str, object] = {
            "name": name,
            "project": "digits",
            "provider": "local",
            "emulated": False,
            "handle": None,
            "spec_hash": "5" * 64,
            "operation": operation,
            "artifact": "digits-3fa85f64c0de",
            "job": None,
            "state": EndpointState.CREATING,
            "detail": "",
            "created": CREATED,
        }
        return Endpoint(**{**fields, **changes})

    return make


@pytest.fixture
def new_artifact() -> Callable[..., Artifact]:
    def make(artifact_id: str = "digits-3fa85f64c0de", **changes: object) -> Artifact:
        fields: dict[str, object] = {
            "id": artifact_id,
            "project": "digits",
            "provider": "local",
            "emulated": False,
            "handle": ArtifactHandle("3fa85f64c0de" + "0" * 52, "/models/3fa85f64c0de"),
            "size_bytes": 3 * 2**32,
            "frameworks": {"sklearn": "1.7.0"},
            "job": "digits-1",
            "created": CREATED,
        }
        return Artifact(**{**fields, **changes})

    return make


@pytest.fixture
def new_operation() -> Callable[..., Operation]:
    def make(operation_id: str = "1" * 32, **changes: object) -> Operation:
        fields: dict[str, object] = {
            "id": operation_id,
            "verb": Verb.DEPLOY,
            "owner": "me",
            "project": "digits",
            "provider": "local",
            "emulated": False,
            "name": "digits",
            "spec_hash": "5" * 64,
            "created": CREATED,
        }
        return Operation(**{**fields, **changes})

    return make
