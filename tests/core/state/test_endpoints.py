from dataclasses import replace
from datetime import timedelta

import pytest

from freelane.errors import StateError
from freelane.model.endpoint import EndpointHandle
from freelane.model.lifecycle import EndpointState
from freelane.state import endpoints


def test_a_claimed_endpoint_reads_back_as_it_was_written(store, new_endpoint):
    endpoint = new_endpoint(
        handle=EndpointHandle("fl-digits", "/endpoints/1"),
        state=EndpointState.READY,
        detail="1 worker",
        job="digits-1",
        url="http://127.0.0.1:8000",
        expires_at=new_endpoint().created + timedelta(minutes=30),
        billing=True,
        reason="none",
    )
    with store.begin() as c:
        assert endpoints.claim(c, "me", endpoint) is None
    with store.read() as c:
        assert endpoints.get(c, "me", "local", False, "digits") == endpoint


def test_a_name_that_lives_in_another_project_is_not_given_twice(store, new_endpoint):
    first = new_endpoint(project="one")
    with store.begin() as c:
        endpoints.claim(c, "me", first)
    with store.begin() as c:
        assert endpoints.claim(c, "me", new_endpoint(project="two", operation="2")) == first


@pytest.mark.parametrize(
    ("owner", "other"),
    [
        ("you", {}),
        ("me", {"provider": "sagemaker"}),
        ("me", {"emulated": True}),
        ("me", {"name": "other"}),
    ],
)
def test_another_owner_provider_emulator_or_name_does_not_stand_in_the_way(
    store, new_endpoint, owner, other
):
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint())
        assert endpoints.claim(c, owner, new_endpoint(operation="2", **other)) is None


def test_the_same_operation_claims_again_and_keeps_what_is_recorded(store, new_endpoint):
    created = new_endpoint(handle=EndpointHandle("fl-digits", "/endpoints/1"))
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint())
        endpoints.save(c, "me", created)
        assert endpoints.claim(c, "me", new_endpoint()) is None
        assert endpoints.made_by(c, "me", "1" * 32) == created


def test_a_deleted_endpoint_frees_its_name(store, new_endpoint):
    second = new_endpoint(operation="2")
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint())
        endpoints.save(c, "me", new_endpoint(state=EndpointState.DELETED))
        assert endpoints.claim(c, "me", second) is None
        assert endpoints.get(c, "me", "local", False, "digits") == second


def test_an_operation_whose_endpoint_was_deleted_is_told_so(store, new_endpoint):
    deleted = new_endpoint(state=EndpointState.DELETED)
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint())
        endpoints.save(c, "me", deleted)
        assert endpoints.claim(c, "me", new_endpoint()) == deleted


def test_a_failed_endpoint_still_holds_its_name(store, new_endpoint):
    failed = new_endpoint(state=EndpointState.FAILED)
    with store.begin() as c:
        endpoints.claim(c, "me", failed)
        assert endpoints.claim(c, "me", new_endpoint(operation="2")) == failed


def test_get_gives_the_one_deleted_last_when_none_lives(store, new_endpoint):
    with store.begin() as c:
        for hour in (1, 3, 2):
            later = new_endpoint().created + timedelta(hours=hour)
            endpoint = new_endpoint(operation=str(hour), created=later)
            endpoints.claim(c, "me", endpoint)
            endpoints.save(c, "me", replace(endpoint, state=EndpointState.DELETED))
        assert endpoints.get(c, "me", "local", False, "digits").operation == "3"


def test_live_leaves_the_deleted_out_and_keeps_to_project_and_name(store, new_endpoint):
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint("a", "1", project="one"))
        endpoints.claim(c, "me", new_endpoint("b", "2", project="two"))
        endpoints.claim(c, "me", new_endpoint("c", "3", state=EndpointState.DELETED))
        assert [e.name for e in endpoints.live(c, "me")] == ["a", "b"]
        assert [e.name for e in endpoints.live(c, "me", project="two")] == ["b"]
        assert [e.name for e in endpoints.live(c, "me", name="a")] == ["a"]
        assert endpoints.live(c, "you") == []


def test_a_late_look_does_not_bring_a_deleted_endpoint_back(store, new_endpoint):
    with store.begin() as c:
        endpoints.claim(c, "me", new_endpoint())
        endpoints.save(c, "me", new_endpoint(state=EndpointState.DELETED))
        endpoints.claim(c, "me", new_endpoint(operation="2"))
        assert not endpoints.save(c, "me", new_endpoint(state=EndpointState.READY))


def test_saving_an_endpoint_that_is_not_recorded_is_refused(store, new_endpoint):
    with pytest.raises(StateError, match="digits is not recorded"), store.begin() as c:
        endpoints.save(c, "me", new_endpoint())
