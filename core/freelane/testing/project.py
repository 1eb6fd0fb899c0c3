"""A user's project as the cases need one: code of the standard library alone, and its specs."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.model.job import Hyperparameter, JobSpec
from freelane.model.resources import ANY_RESOURCES, Resources

NAME = "conformance"


class Project:
    """A folder of user code; what a spec names is what has been written so far."""

    def __init__(
        self, folder: Path, *, train_options: object = None, deploy_options: object = None
    ) -> None:
        self.folder = folder
        self._train_options = train_options
        self._deploy_options = deploy_options

    def write(self, path: str, text: str) -> Path:
        """Write one file of the project; `path` is relative to its folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def job(
        self,
        script: str,
        *,
        inputs: Mapping[str, Path] | None = None,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        env: Mapping[str, str] | None = None,
        resources: Resources = ANY_RESOURCES,
        max_runtime: timedelta | None = None,
    ) -> JobSpec:
        """A job that runs `script`, the text of its train.py."""
        self.write("train.py", script)
        return JobSpec(
            project=NAME,
            name="job",
            source=self.folder,
            files=self._files(),
            script="train.py",
            inputs={channel: str(path) for channel, path in (inputs or {}).items()},
            hyperparameters=hyperparameters or {},
            env=env or {},
            resources=resources,
            max_runtime=max_runtime,
            options=self._train_options,
        )

    def endpoint(
        self, script: str, artifact: ArtifactHandle, *, ttl: timedelta | None = None
    ) -> EndpointSpec:
        """An endpoint that serves `artifact` with `script`, the text of its predict.py."""
        self.write("predict.py", script)
        return EndpointSpec(
            project=NAME,
            name="endpoint",
            source=self.folder,
            files=self._files(),
            script="predict.py",
            artifact=artifact,
            ttl=ttl,
            options=self._deploy_options,
        )

    def _files(self) -> tuple[str, ...]:
        return tuple(
            sorted(
                file.relative_to(self.folder).as_posix()
                for file in self.folder.rglob("*")
                if file.is_file() and "__pycache__" not in file.parts
            )
        )
