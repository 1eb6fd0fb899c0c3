"""Standard cases of where a provider keeps models."""

from dataclasses import replace
from pathlib import Path

import pytest

from freelane.contract.capability import Capability
from freelane.errors import ProviderInternal, ResourceNotFound
from freelane.testing.cases import Conformance, case
from freelane.testing.project import Project
from freelane.testing.workshop import Workshop, describe


class ArtifactsConformance(Conformance):
    """Models: kept once, fetched whole, and never handed out changed."""

    @case(Capability.ARTIFACTS)
    def test_a_model_comes_back_as_it_was(self, workshop: Workshop, tmp_path: Path) -> None:
        folder = _model(workshop.project)
        manifest = describe(folder)

        handle = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)
        fetched = workshop.artifacts.fetch(
            handle, _empty(tmp_path / "fetched"), deadline=workshop.deadline
        )

        assert fetched == manifest
        assert describe(tmp_path / "fetched").files == manifest.files

    @case(Capability.ARTIFACTS)
    def test_the_manifest_can_be_read_alone(self, workshop: Workshop) -> None:
        folder = _model(workshop.project)
        manifest = describe(folder)
        handle = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)

        assert workshop.artifacts.manifest(handle, deadline=workshop.deadline) == manifest

    @case(Capability.ARTIFACTS)
    def test_the_same_model_is_kept_once(self, workshop: Workshop) -> None:
        folder = _model(workshop.project)
        manifest = describe(folder)

        first = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)
        second = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)

        assert first == second
        assert first.digest == manifest.digest

    @case(Capability.ARTIFACTS)
    def test_only_what_the_manifest_lists_is_kept(self, workshop: Workshop, tmp_path: Path) -> None:
        folder = _model(workshop.project)
        manifest = describe(folder)
        (folder / "beside.txt").write_text("not part of the model", encoding="utf-8")

        handle = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)
        workshop.artifacts.fetch(handle, _empty(tmp_path / "out"), deadline=workshop.deadline)

        assert not (tmp_path / "out" / "beside.txt").exists()

    @case(Capability.ARTIFACTS)
    def test_an_artifact_that_is_not_there_is_not_found(
        self, workshop: Workshop, tmp_path: Path
    ) -> None:
        folder = _model(workshop.project)
        manifest = describe(folder)
        there = workshop.artifacts.put(folder, manifest, deadline=workshop.deadline)
        absent = replace(
            there, digest="0" * 64, uri=there.uri.replace(there.digest, "0" * 64) + "-absent"
        )

        with pytest.raises(ResourceNotFound):
            workshop.artifacts.manifest(absent, deadline=workshop.deadline)
        with pytest.raises(ResourceNotFound):
            workshop.artifacts.fetch(absent, _empty(tmp_path / "o"), deadline=workshop.deadline)

    @case(Capability.ARTIFACTS)
    def test_a_copy_that_changed_is_refused(self, workshop: Workshop, tmp_path: Path) -> None:
        folder = _model(workshop.project)
        handle = workshop.artifacts.put(folder, describe(folder), deadline=workshop.deadline)
        kept = [file for file in Path(handle.uri).rglob("weights.bin") if file.is_file()]
        if not kept:
            pytest.skip("the provider's copy cannot be reached from here")
        for file in kept:
            file.chmod(0o600)
            file.write_bytes(file.read_bytes()[:-1] + b"!")

        with pytest.raises(ProviderInternal):
            workshop.artifacts.fetch(handle, _empty(tmp_path / "o"), deadline=workshop.deadline)


def _model(project: Project) -> Path:
    project.write("../model/weights.bin", "0123456789" * 1000)
    project.write("../model/parts/vocabulary.txt", "one\ntwo\n")
    return (project.folder / "../model").resolve()


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
