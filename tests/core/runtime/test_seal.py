"""A folder of model files becomes a manifest, and only what may be in a model does."""

import hashlib
import os
from datetime import UTC, datetime

import pytest

from freelane.errors import ConfigError
from freelane.runtime import seal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def manifest(folder):
    return seal.manifest_of(folder, python="3.11", frameworks={}, job=None, created=NOW)


def test_every_file_is_listed_by_path_size_and_digest(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/model.bin").write_bytes(b"weights")
    (file,) = manifest(tmp_path).files
    assert (file.path, file.size_bytes) == ("sub/model.bin", 7)
    assert file.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_same_files_have_the_same_digest_wherever_they_lie(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"weights")
    assert manifest(tmp_path / "one").digest == manifest(tmp_path / "two").digest
    (tmp_path / "two/model.bin").write_bytes(b"Weights")
    assert manifest(tmp_path / "one").digest != manifest(tmp_path / "two").digest


def test_a_link_in_a_model_is_refused(tmp_path):
    (tmp_path / "model.bin").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match=r"model\.bin in the model is a link"):
        manifest(tmp_path)


def test_a_pipe_in_a_model_is_refused_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="a device or a pipe"):
        manifest(tmp_path)
