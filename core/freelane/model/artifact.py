"""A trained model: its files, what made it, and where a copy of it lies."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


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
            manifest = cls(
                files=tuple(
                    FileDigest(f["path"], f["size_bytes"], f["sha256"]) for f in document["files"]
                ),
                python=document["python"],
                frameworks=document["frameworks"],
                job=document["job"],
                created=datetime.fromisoformat(document["created"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an artifact manifest: {error!r}") from error
        if manifest.digest != document.get("digest"):
            raise ValueError("the manifest's digest is not that of the files it lists")
        return manifest


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


def artifact_id(name: str, digest: str) -> str:
    """What people type for the artifact: `digits-3fa85f64c0de`."""
    return f"{name}-{digest[:12]}"
