"""Artifacts: recording, carrying from one provider to another, bringing in, fetching home."""

import tempfile
from datetime import datetime
from pathlib import Path

from freelane.contract.capability import Capability
from freelane.contract.provider import Artifacts, Provider
from freelane.errors import ResourceConflict, ResourceNotFound
from freelane.model.artifact import Artifact, ArtifactHandle, Manifest, artifact_id
from freelane.model.name import is_beginning
from freelane.service.workspace import Workspace
from freelane.state import artifacts


class ArtifactService:
    """Keeps track of each copy of each model."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def newest(self, limit: int | None) -> list[Artifact]:
        """Of this project, newest first."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            return artifacts.newest(
                connection, workspace.owner, project=workspace.project, limit=limit
            )

    def get(self, reference: str) -> Artifact:
        """The artifact of an id or of a unique beginning of one.

        Raises:
            ResourceNotFound: There is none.
            ResourceConflict: Several begin so.
        """
        workspace = self._workspace
        matching: list[Artifact] = []
        if is_beginning(reference):
            with workspace.store.read() as connection:
                exact = artifacts.get(connection, workspace.owner, reference)
                if exact is not None:
                    return exact
                matching = artifacts.matching(connection, workspace.owner, reference)
        if not matching:
            raise ResourceNotFound(
                f"there is no artifact {reference!r}; train one, or see: freelane jobs",
                provider="freelane",
            )
        if len({artifact.id for artifact in matching}) > 1:
            raise ResourceConflict(
                f"{reference!r} begins several artifacts: "
                + ", ".join(sorted({artifact.id for artifact in matching})[:5]),
                provider=matching[0].provider,
            )
        return matching[0]

    def record(
        self,
        provider: Provider,
        handle: ArtifactHandle,
        *,
        name: str,
        project: str,
        job: str | None,
    ) -> Artifact:
        """Record the copy that `provider` keeps; recording it again changes nothing."""
        manifest = self._port(provider).manifest(handle, deadline=self._workspace.deadline())
        return self._add(provider, handle, manifest, name=name, project=project, job=job)

    def take_in(self, folder: Path, manifest: Manifest, *, provider: str, name: str) -> Artifact:
        """Keep the files that `manifest` lists at `provider`, as an artifact that no job made.

        To ask for it is to consent: what the files hold may run when an endpoint loads them.
        """
        wired = self._workspace.resolve(provider)
        handle = self._port(wired).put(folder, manifest, deadline=self._workspace.deadline(None))
        return self._add(
            wired,
            handle,
            manifest,
            name=name,
            project=self._workspace.project,
            job=None,
            consented=self._workspace.clock.now(),
        )

    def fetch(self, artifact: Artifact, folder: Path) -> Manifest:
        """Copy its files into the empty `folder`, each verified."""
        wired = self._workspace.resolve(artifact.provider)
        return self._port(wired).fetch(
            artifact.handle, folder, deadline=self._workspace.deadline(None)
        )

    def copy_at(self, artifact: Artifact, provider: str) -> ArtifactHandle | None:
        """The copy that `provider` already keeps."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            copies = artifacts.copies(connection, workspace.owner, artifact.handle.digest)
        for copy in copies:
            if copy.provider == provider and copy.emulated == workspace.emulated:
                return copy.handle
        return None

    def carry(self, artifact: Artifact, provider: str) -> ArtifactHandle:
        """A copy that `provider` keeps, carried there through this machine if it has none."""
        there = self.copy_at(artifact, provider)
        if there is not None:
            return there
        wired = self._workspace.resolve(provider)
        port = self._port(wired)
        with tempfile.TemporaryDirectory(prefix="freelane-carry-") as temporary:
            folder = Path(temporary)
            manifest = self.fetch(artifact, folder)
            handle = port.put(folder, manifest, deadline=self._workspace.deadline(None))
        name = artifact.id.rsplit("-", 1)[0]
        self._add(
            wired,
            handle,
            manifest,
            name=name,
            project=artifact.project,
            job=artifact.job,
            consented=artifact.consented,
        )
        return handle

    def _add(
        self,
        provider: Provider,
        handle: ArtifactHandle,
        manifest: Manifest,
        *,
        name: str,
        project: str,
        job: str | None,
        consented: datetime | None = None,
    ) -> Artifact:
        artifact = Artifact(
            id=artifact_id(name, handle.digest),
            project=project,
            provider=provider.name,
            emulated=self._workspace.emulated,
            handle=handle,
            size_bytes=manifest.size_bytes,
            frameworks=dict(manifest.frameworks),
            job=job,
            created=manifest.created,
            consented=consented,
        )
        with self._workspace.store.begin() as connection:
            artifacts.add(connection, self._workspace.owner, artifact)
        return artifact

    def _port(self, provider: Provider) -> Artifacts:
        if provider.artifacts is None:
            raise self._workspace.unsupported(provider, Capability.ARTIFACTS)
        return provider.artifacts
