"""What an endpoint answers, to whom, and what it keeps to itself."""

from dataclasses import replace

import pytest

from freelane.errors import (
    AuthenticationFailed,
    InvalidRequest,
    ModelFailed,
    ProviderError,
    QuotaExceeded,
    ResourceNotFound,
)
from freelane.model.endpoint import RateLimits
from freelane.model.prediction import PredictionRequest


def test_a_model_that_raises_at_predict_fails_that_request_alone(shared):
    cloud, handle = shared
    with pytest.raises(ModelFailed, match="no such row") as raised:
        cloud.predict(handle, ["raise"])
    assert raised.value.exit_code == 1
    assert raised.value.request_id
    assert cloud.predict(handle).predictions == [6]


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"authorization": "Bearer " + "x" * 43}, AuthenticationFailed),
        ({"authorization": ""}, AuthenticationFailed),
        ({"host": "evil.example"}, ProviderError),
        ({"origin": "http://evil.example"}, ProviderError),
        ({"content-type": "text/plain"}, InvalidRequest),
    ],
    ids=["wrong token", "no token", "host", "origin", "content type"],
)
def test_a_request_that_is_not_ours_is_refused(shared, headers, error):
    cloud, handle = shared
    call = cloud.predictor.prepare(handle, PredictionRequest([1]))
    reply = cloud.transport.send(
        replace(call, headers={**call.headers, **headers}), deadline=cloud.deadline()
    )
    with pytest.raises(error) as raised:
        cloud.predictor.parse(handle, reply)
    assert raised.value.exit_code in {2, 3}


def test_another_route_is_not_found(shared):
    cloud, handle = shared
    call = cloud.predictor.prepare(handle, PredictionRequest([1]))
    other = replace(call, url=call.url.replace("tripler", "doubler"))
    with pytest.raises(ResourceNotFound):
        cloud.predictor.parse(handle, cloud.transport.send(other, deadline=cloud.deadline()))


def test_the_endpoint_keeps_its_own_rate(cloud):
    handle = cloud.ready(rate=RateLimits(per_minute=1))
    cloud.predict(handle)
    with pytest.raises(QuotaExceeded) as raised:
        cloud.predict(handle)
    assert raised.value.quota_id.startswith("local/rate.minute@")
    assert raised.value.limit == 1
    assert raised.value.retry_after_s > 0


def test_the_token_stands_in_its_file_alone(shared):
    cloud, handle = shared
    cloud.predict(handle)
    token = (cloud.folder(handle) / "token").read_text()
    assert len(token) >= 43
    assert (cloud.folder(handle) / "token").stat().st_mode & 0o777 == 0o600
    for path in cloud.folder(handle).rglob("*"):
        if path.is_file() and path.name != "token":
            assert token.encode() not in path.read_bytes(), path
    for process in cloud.processes():
        assert token not in " ".join(process.cmdline())
        assert token not in " ".join(process.environ().values())


def test_a_secret_travels_through_the_environment_alone(cloud_with):
    cloud = cloud_with(
        environ={"HF_TOKEN": "canary-91f3", "FREELANE_DATABASE_URL": "postgresql://x"}
    )
    handle = cloud.ready(secrets=("HF_TOKEN",), env={"MODE": "fast"})
    ((seen,),) = (cloud.predict(handle, ["env"]).predictions,)
    assert seen["HF_TOKEN"] == "canary-91f3"
    assert seen["MODE"] == "fast"
    assert seen["FREELANE_PROVIDER"] == "local"
    assert seen["FREELANE_MODEL_DIR"].startswith(str(cloud.root / "artifacts"))
    assert "FREELANE_DATABASE_URL" not in seen
    for path in cloud.folder(handle).rglob("*"):
        if path.is_file():
            assert b"canary-91f3" not in path.read_bytes(), path


def test_what_the_server_prints_is_kept(shared):
    cloud, handle = shared
    assert "loaded by" in cloud.printed(handle)
