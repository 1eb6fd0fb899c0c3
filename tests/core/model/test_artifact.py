import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.model.artifact import FileDigest, Manifest, artifact_id, content_digest

SHA = "ab" * 32
CREATED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

parts = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=["Cs", "Cc"]), min_size=1
).filter(lambda part: part not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
files = st.lists(
    st.builds(
        FileDigest,
        paths,
        st.integers(0, 2**60),
        st.text("0123456789abcdef", min_size=64, max_size=64),
    ),
    unique_by=lambda f: f.path,
    max_size=4,
).map(tuple)
manifests = st.builds(
    Manifest,
    files=files,
    python=st.sampled_from(["3.11.7", ""]),
    frameworks=st.dictionaries(st.sampled_from(["sklearn", "torch"]), st.just("1.4.2")),
    job=st.none() | st.just("job"),
    created=st.datetimes(timezones=st.just(UTC)),
)


@pytest.fixture
def manifest():
    return Manifest(files=(FileDigest("a/model.joblib", 3, SHA),), python="3.11.7", created=CREATED)


def changed(manifest, **changes):
    """The text of the manifest with other fields and a digest that fits whatever its files are."""
    return json.dumps(json.loads(manifest.to_json()) | changes)


@given(manifests)
def test_a_manifest_reads_back(manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(files, st.randoms())
def test_the_digest_does_not_hang_on_the_order_of_the_files(listed, source):
    shuffled = list(listed)
    source.shuffle(shuffled)
    assert content_digest(shuffled) == content_digest(listed)


@given(files, files)
def test_other_files_have_another_digest(one, other):
    same = {(f.path, f.sha256) for f in one} == {(f.path, f.sha256) for f in other}
    assert (content_digest(one) == content_digest(other)) is same


def test_the_digest_is_that_of_the_files_alone(manifest):
    later = Manifest(files=manifest.files, python="3.13.0", job="j", created=datetime.now(UTC))
    assert later.digest == manifest.digest
    assert manifest.size_bytes == 3


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "3", "{}", "{", '{"files": 3}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
)
def test_a_text_that_is_no_manifest_is_refused(text):
    with pytest.raises(ValueError):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"digest": "0" * 64},
        {"python": 3},
        {"frameworks": {"sklearn": 1}},
        {"frameworks": []},
        {"job": 3},
        {"created": "yesterday"},
        {"created": 3},
        {"files": [{"path": "a", "size_bytes": -1, "sha256": SHA}]},
        {"files": [{"path": "a", "size_bytes": True, "sha256": SHA}]},
        {"files": [{"path": "a", "size_bytes": 1.5, "sha256": SHA}]},
        {"files": [{"path": "a", "size_bytes": 1, "sha256": "short"}]},
        {"files": [{"path": 3, "size_bytes": 1, "sha256": SHA}]},
        {"files": [{"path": "a", "size_bytes": 1}]},
        {"files": ["a"]},
    ],
)
def test_a_field_that_does_not_hold_is_refused(manifest, changes):
    with pytest.raises(ValueError):
        Manifest.from_json(changed(manifest, **changes))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/",
        "a\\..\\b",
        "a\nb",
        "a\0",
        "\ud800",
    ],
)
def test_a_path_that_leads_out_of_its_folder_is_refused(manifest, path):
    row = {"path": path, "size_bytes": 1, "sha256": SHA}
    digest = "x" if path == "\ud800" else content_digest([FileDigest(**row)])
    with pytest.raises(ValueError):
        Manifest.from_json(changed(manifest, files=[row], digest=digest))


def test_a_path_listed_twice_is_refused(manifest):
    twice = manifest.files * 2
    rows = [{"path": f.path, "size_bytes": 1, "sha256": SHA} for f in twice]
    with pytest.raises(ValueError, match="twice"):
        Manifest.from_json(changed(manifest, files=rows, digest=content_digest(twice)))


def test_an_artifacts_id_is_short_enough_to_type():
    assert artifact_id("digits", "3fa85f64c0de" + "0" * 52) == "digits-3fa85f64c0de"
