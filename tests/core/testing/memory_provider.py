"""Providers small enough to be wrong in one way at a time; the inner test runs import them."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from freelane.contract.capability import FULL, Capability, Level, Support
from freelane.contract.provider import CONTRACT_VERSION, Provider, ProviderInfo
from freelane.errors import CapabilityUnsupported, ProviderInternal, ResourceNotFound
from freelane.model.artifact import ArtifactHandle
from freelane.model.estimate import UNKNOWN_ACCOUNT, Estimate, Metered, Reading, Timed
from freelane.model.quota import Unit


def provider(*, capabilities, **ports):
    info = ProviderInfo(
        name="memory",
        summary="keeps models in a dict",
        owned=True,
        contract=CONTRACT_VERSION,
        capabilities=capabilities,
        config="memory_provider:Config",
        factory="memory_provider:connect",
    )
    return Provider(name="memory", info=info, **ports)


def honest():
    return provider(capabilities={Capability.ARTIFACTS: FULL}, artifacts=MemoryArtifacts())


def partial(*excludes, refuses=()):
    support = Support(Level.PARTIAL, excludes=frozenset(excludes))
    return provider(
        capabilities={Capability.ARTIFACTS: support}, artifacts=MemoryArtifacts(refuses=refuses)
    )


class MemoryArtifacts:
    def __init__(self, refuses=()):
        self._kept = {}
        self._refuses = refuses

    def put(self, folder, manifest, *, deadline):
        files = {f.path: (folder / f.path).read_bytes() for f in manifest.files}
        self._kept.setdefault(manifest.digest, (manifest, files))
        return ArtifactHandle(manifest.digest, f"memory:{manifest.digest}")

    def fetch(self, handle, folder, *, deadline):
        manifest, files = self._find(handle)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return manifest

    def manifest(self, handle, *, deadline):
        if "manifest" in self._refuses:
            raise CapabilityUnsupported("no", capability="artifacts", provider="memory")
        return self._find(handle)[0]

    def _find(self, handle):
        if handle.digest not in self._kept:
            raise ResourceNotFound("not there", provider="memory")
        return self._kept[handle.digest]


class CarelessFolderArtifacts:
    """Keeps files on the disk and hands them out as they lie there, unless it is told to look."""

    def __init__(self, folder: Path, *, looks: bool):
        self._folder = folder
        self._looks = looks
        self._manifests = {}

    def put(self, folder, manifest, *, deadline):
        for file in manifest.files:
            target = self._folder / manifest.digest / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((folder / file.path).read_bytes())
        self._manifests[manifest.digest] = manifest
        return ArtifactHandle(manifest.digest, str(self._folder / manifest.digest))

    def fetch(self, handle, folder, *, deadline):
        manifest = self.manifest(handle, deadline=deadline)
        for file in manifest.files:
            content = (self._folder / handle.digest / file.path).read_bytes()
            if self._looks and hashlib.sha256(content).hexdigest() != file.sha256:
                raise ProviderInternal("changed", provider="memory")
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_bytes(content)
        return manifest

    def manifest(self, handle, *, deadline):
        if handle.digest not in self._manifests:
            raise ResourceNotFound("not there", provider="memory")
        return self._manifests[handle.digest]


def counting(**wrong):
    """Says what it uses, right but for what `wrong` replaces."""
    usable = (
        Capability.QUOTA,
        Capability.TRAIN,
        Capability.DEPLOY,
        Capability.PREDICT,
        Capability.GENERATE,
    )
    quota = SteadyReporter()
    for name, function in wrong.items():
        setattr(quota, name, function)
    return provider(capabilities=dict.fromkeys(usable, FULL), quota=quota)


class SteadyReporter:
    """One hour's machine for what lasts, one request for a prediction."""

    def estimate_job(self, spec):
        return Estimate(lines=(line(),))

    def estimate_endpoint(self, spec):
        return Estimate(lines=(line(),))

    def estimate_prediction(self, handle, request):
        one = Metered(what="one prediction", meter="requests", unit=Unit.REQUESTS, amount=1)
        return Estimate(lines=(one,))

    def estimate_generation(self, handle, request):
        one = Metered(what="one text", meter="requests", unit=Unit.REQUESTS, amount=1)
        return Estimate(lines=(one,))

    def account(self, *, deadline):
        return UNKNOWN_ACCOUNT

    def usage(self, *, deadline):
        yield Reading(quota="requests", used=3, as_of=datetime(2026, 1, 1, tzinfo=UTC))


def line(**changes):
    right = {"what": "a machine", "meter": "machine", "unit": Unit.MS, "per_hour": 3_600_000}
    return Timed(**{**right, **changes})


class SilentInventory:
    """An inventory that nobody declared: it answers all the same, or refuses as it should."""

    def __init__(self, *, refuses: bool):
        self._refuses = refuses

    def resources(self, *, deadline) -> Iterator[object]:
        if self._refuses:
            raise CapabilityUnsupported("no", capability="inventory", provider="memory")
        return iter(())

    def remove(self, resource, *, deadline):
        raise NotImplementedError
