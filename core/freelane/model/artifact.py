"""A trained model: its files, what made it, and where a copy of it lies."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file of an artifact: a relative POSIX path, its bytes counted and its SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact holds and what made it; `digest` names it by content."""

    files: tuple[FileDigest, ...]
    python: str
    """The Python version that wrote the files, such as 3.11.7; empty when it is not known."""
    frameworks: Mapping[str, str] = field(default_factory=dict)
    """Framework name -> version, as installed where the files were written."""
    job: str | None = None
    """The job that made it; None for a model that was imported."""
    created: datetime

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the paths and contents alone: the same model has the same digest."""
        return content_digest(self.files)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        document = {
            "schema_version": 1,
            "digest": self.digest,
            "files": [
                {"path": f.path, "size_bytes": f.size_bytes, "sha256": f.sha256} for f in self.files
            ],
            "python": self.python,
            "frameworks": dict(self.frameworks),
            "job": self.job,
            "created": self.created.isoformat(),
        }
        return json.dumps(document, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is not such a manifest, or its digest is not that of its files.
        """
        try:
            document = json.loads(text)
            if document["schema_version"] != 1:
                raise ValueError("an artifact manifest of another version")
            manifest = cls(
                files=tuple(
                    FileDigest(_path(f["path"]), _size(f["size_bytes"]), _sha256(f["sha256"]))
                    for f in document["files"]
                ),
                python=_text(document["python"]),
                frameworks={_text(k): _text(v) for k, v in document["frameworks"].items()},
                job=None if document["job"] is None else _text(document["job"]),
                created=datetime.fromisoformat(document["created"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not an artifact manifest: {error!r}") from error
        if len({file.path for file in manifest.files}) < len(manifest.files):
            raise ValueError("the manifest lists one path twice")
        if manifest.digest != document.get("digest"):
            raise ValueError("the manifest's digest is not that of the files it lists")
        return manifest


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is not a text")


def _path(value: object) -> str:
    """A manifest may be a stranger's: its paths stay inside the folder they are written to."""
    path = _text(value)
    inside = path and all(part not in {"", ".", ".."} for part in path.split("/"))
    if not inside or "\\" in path or _CONTROL.search(path):
        raise ValueError(f"the manifest lists {path!r}, which is not a plain relative path")
    return path


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise TypeError(f"{value!r} is not a count of bytes")


def _sha256(value: object) -> str:
    if _SHA256.fullmatch(_text(value)):
        return str(value)
    raise TypeError(f"{value!r} is not a SHA-256 in hex")


def content_digest(files: Iterable[FileDigest]) -> str:
    """SHA-256 in hex over sorted (path, sha256) pairs."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.path):
        digest.update(f"{file.path}\0{file.sha256}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ArtifactHandle:
    """Where a provider keeps a copy of an artifact."""

    digest: str
    uri: str
    """A path on this machine, or s3:// or gs://."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact as Freelane records it."""

    id: str
    """`<name>-<first 12 of the digest>`: what people type."""
    project: str
    provider: str
    emulated: bool
    handle: ArtifactHandle
    size_bytes: int
    frameworks: Mapping[str, str]
    job: str | None
    """Id of the job that made it."""
    created: datetime
    consented: datetime | None = None
    """When a person said that they trust its origin; None where a job of ours made it."""


def artifact_id(name: str, digest: str) -> str:
    """What people type for the artifact: `digits-3fa85f64c0de`."""
    return f"{name}-{digest[:12]}"
