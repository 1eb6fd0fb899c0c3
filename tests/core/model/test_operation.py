from datetime import UTC, datetime

from freelane.model.operation import Operation, Resource, ResourceKind, Verb

OPERATION = Operation(
    id="0123456789abcdef" * 2,
    verb=Verb.DEPLOY,
    owner="me",
    project="digits",
    provider="local",
    emulated=False,
    name="web",
    spec_hash="h",
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_an_operation_names_the_same_resource_each_time():
    assert OPERATION.resource == "fl-digits-web-01234567"


def test_tags_say_whose_a_resource_is_and_when_it_must_be_gone():
    assert OPERATION.tags() == {
        "freelane-owner": "me",
        "freelane-operation": OPERATION.id,
        "freelane-project": "digits",
        "freelane-name": "web",
    }
    expires = datetime(2026, 1, 1, 2, tzinfo=UTC)
    ending = Operation(
        **{f: getattr(OPERATION, f) for f in OPERATION.__slots__} | {"expires": expires}
    )
    assert ending.tags()["freelane-expires"] == str(int(expires.timestamp()))


def test_a_resource_without_our_tag_has_no_owner():
    resource = Resource(kind=ResourceKind.JOB, name="n", ref="r", state="RUNNING", tags={})
    assert resource.owner is None
    ours = Resource(kind=ResourceKind.JOB, name="n", ref="r", state="s", tags=OPERATION.tags())
    assert ours.owner == "me"
