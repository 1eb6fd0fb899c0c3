import hashlib
import json
import os
import resource
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from freelane.errors import InvalidRequest, ProviderInternal, ResourceNotFound, StateError
from freelane.model.artifact import ArtifactHandle, FileDigest, Manifest
from freelane_local import artifacts, records
from freelane_local.artifacts import LocalArtifacts


@pytest.fixture
def store(root):
    return LocalArtifacts(root / "artifacts", provider="local")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "deep" / "labels.txt").write_bytes(b"cat\ndog\n")
    return folder


def entry(path, content=b"weights"):
    return FileDigest(path, len(content), hashlib.sha256(content).hexdigest())


def manifest_of(*files):
    return Manifest(files=files, python="3.11.7", created=datetime.now(UTC))


@pytest.fixture
def manifest():
    return manifest_of(entry("deep/labels.txt", b"cat\ndog\n"), entry("model.bin"))


def test_what_was_put_is_fetched(store, model, manifest, tmp_path, deadline):
    handle = store.put(model, manifest, deadline=deadline)
    assert handle.digest == manifest.digest
    assert store.fetch(handle, tmp_path / "home", deadline=deadline) == manifest
    assert (tmp_path / "home" / "deep" / "labels.txt").read_bytes() == b"cat\ndog\n"


def test_the_same_content_is_kept_once(store, model, manifest, deadline, root):
    one = store.put(model, manifest, deadline=deadline)
    two = store.put(model, replace(manifest, job="another"), deadline=deadline)
    assert one == two
    assert len(records.folders(root / "artifacts")) == 1


@pytest.mark.parametrize(
    "path",
    [
        "../model.bin",
        "/etc/passwd",
        "deep/../../model.bin",
        "deep\\model.bin",
        "",
        ".",
        "a//b",
        "a\0b",
        "a\nb",
        "x" * 2000,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(store, model, path, deadline, root):
    with pytest.raises(InvalidRequest):
        store.put(model, manifest_of(entry(path)), deadline=deadline)
    assert not records.folders(root / "artifacts")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_two_files_of_one_name_are_refused(paths):
    with pytest.raises(ValueError, match=r"twice|a file"):
        artifacts.check_files(tuple(map(entry, paths)))


def test_links_are_refused(store, model, deadline):
    (model / "link.bin").symlink_to("model.bin")
    (model / "linked").symlink_to("deep")
    for file in (entry("link.bin"), entry("linked/labels.txt", b"cat\ndog\n")):
        with pytest.raises(InvalidRequest, match="a link"):
            store.put(model, manifest_of(file), deadline=deadline)


def test_a_pipe_is_refused_without_waiting_for_it(store, model, deadline):
    os.mkfifo(model / "pipe")
    with pytest.raises(InvalidRequest, match="regular file"):
        store.put(model, manifest_of(entry("pipe")), deadline=deadline)


def test_content_that_is_not_what_the_manifest_says_is_refused(store, model, deadline, root):
    for wrong in (entry("model.bin", b"WEIGHTS"), entry("model.bin", b"weight")):
        with pytest.raises(InvalidRequest, match="not what the manifest says"):
            store.put(model, manifest_of(wrong), deadline=deadline)
    assert not list((root / "artifacts").iterdir())


def test_a_changed_file_is_found_on_fetch_and_nothing_is_left(
    store, model, manifest, deadline, tmp_path
):
    handle = store.put(model, manifest, deadline=deadline)
    (Path(handle.uri) / "model" / "model.bin").write_bytes(b"hacked!")
    with pytest.raises(ProviderInternal, match="damaged"):
        store.fetch(handle, tmp_path / "home", deadline=deadline)
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document | {"files": []},
        lambda document: document | {"files": [{"path": "../x", "size_bytes": 1, "sha256": "0"}]},
        lambda document: document | {"files": [{"path": 7, "size_bytes": 1, "sha256": "0"}]},
        lambda document: [document],
    ],
)
def test_a_changed_manifest_is_damage(store, model, manifest, deadline, change):
    handle = store.put(model, manifest, deadline=deadline)
    path = Path(handle.uri) / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ProviderInternal, match="damaged"):
        store.manifest(handle, deadline=deadline)


def test_an_artifact_that_is_not_here_is_not_found(store, deadline, manifest):
    with pytest.raises(ResourceNotFound):
        store.manifest(ArtifactHandle(manifest.digest, "/elsewhere"), deadline=deadline)


@pytest.mark.parametrize("digest", ["../../etc", "", "A" * 64])
def test_a_digest_that_is_a_path_is_refused(store, digest, deadline):
    with pytest.raises(InvalidRequest):
        store.manifest(ArtifactHandle(digest, "/"), deadline=deadline)


def test_a_folder_that_holds_something_is_not_fetched_into(store, model, manifest, deadline):
    handle = store.put(model, manifest, deadline=deadline)
    with pytest.raises(InvalidRequest, match="not empty"):
        store.fetch(handle, model, deadline=deadline)
    assert (model / "model.bin").exists()


def test_a_disk_that_fills_up_leaves_no_part_of_an_artifact(store, tmp_path, deadline, root):
    content = b"x" * 300_000
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "model.bin").write_bytes(content)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(StateError, match="cannot write"):
            store.put(tmp_path / "big", manifest_of(entry("model.bin", content)), deadline=deadline)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not list((root / "artifacts").iterdir())
