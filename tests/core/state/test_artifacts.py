from dataclasses import replace
from datetime import timedelta

from freelane.model.artifact import ArtifactHandle
from freelane.state import artifacts

LATER = timedelta(hours=1)


def test_an_artifact_reads_back_as_it_was_written(store, new_artifact):
    with store.begin() as c:
        artifacts.add(c, "me", new_artifact())
    with store.read() as c:
        assert artifacts.get(c, "me", new_artifact().id) == new_artifact()
        assert artifacts.get(c, "you", new_artifact().id) is None


def test_adding_a_copy_again_keeps_it_once_and_learns_where_it_lies_now(store, new_artifact):
    moved = replace(
        new_artifact(), handle=ArtifactHandle(new_artifact().handle.digest, "/elsewhere")
    )
    with store.begin() as c:
        artifacts.add(c, "me", new_artifact())
        artifacts.add(c, "me", replace(moved, job="digits-2", created=moved.created + LATER))
        assert artifacts.newest(c, "me", limit=None) == [moved]


def test_copies_lists_the_model_with_every_provider(store, new_artifact):
    first = new_artifact()
    second = new_artifact(provider="sagemaker", created=first.created + LATER)
    with store.begin() as c:
        artifacts.add(c, "me", second)
        artifacts.add(c, "me", first)
        assert artifacts.copies(c, "me", first.handle.digest) == [first, second]
        assert artifacts.copies(c, "me", "0" * 64) == []


def test_matching_names_an_artifact_once_however_many_copies_it_has(store, new_artifact):
    first = new_artifact()
    other = new_artifact("digits-77aa", created=first.created + LATER)
    with store.begin() as c:
        for artifact in (first, new_artifact(provider="sagemaker"), other):
            artifacts.add(c, "me", artifact)
        assert artifacts.matching(c, "me", "digits-") == [other, first]
        assert artifacts.matching(c, "me", "digits-3") == [first]


def test_newest_keeps_to_the_project_and_the_limit(store, new_artifact):
    with store.begin() as c:
        for hour, project in ((1, "one"), (2, "two"), (3, "two")):
            later = new_artifact().created + timedelta(hours=hour)
            artifacts.add(c, "me", new_artifact(f"m-{hour}", project=project, created=later))
        assert [a.id for a in artifacts.newest(c, "me", limit=2)] == ["m-3", "m-2"]
        assert [a.id for a in artifacts.newest(c, "me", project="one", limit=2)] == ["m-1"]
