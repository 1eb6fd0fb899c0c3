"""`client.artifacts`: models that were trained or brought in, and fetching them home."""

import secrets
import shutil
import tempfile
from pathlib import Path

from freelane.client import show
from freelane.client.models import find_model
from freelane.client.session import Session
from freelane.errors import ConfigError, ResourceConflict
from freelane.model import artifact as model
from freelane.model.choice import Framework
from freelane.model.name import check_name
from freelane.model.operation import Verb


class Artifact:
    """A model and where a copy of it lies."""

    def __init__(self, record: model.Artifact) -> None:
        self.record = record

    @property
    def id(self) -> str:
        return self.record.id

    def to_json(self) -> dict[str, object]:
        """The fields of `--json`."""
        record = self.record
        return {
            "id": record.id,
            "project": record.project,
            "provider": record.provider,
            "emulated": record.emulated,
            "digest": record.handle.digest,
            "uri": record.handle.uri,
            "size_bytes": record.size_bytes,
            "frameworks": dict(record.frameworks),
            "job": record.job,
            "created": record.created.isoformat(),
            "consented": record.consented.isoformat() if record.consented else None,
        }

    def __repr__(self) -> str:
        return f"<Artifact {self.id} at {self.record.provider}>"

    def _repr_html_(self) -> str:
        return show.card(f"artifact {self.id}", self.to_json())


class Artifacts:
    """Models of this project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, limit: int | None = 50) -> "list[Artifact]":
        """Newest first."""
        return [Artifact(record) for record in self._session.artifacts.newest(limit)]

    def get(self, artifact: str) -> Artifact:
        """The artifact of an id or of a unique beginning of one."""
        return Artifact(self._session.artifacts.get(artifact))

    def import_(
        self, file: Path | str, *, framework: str | None = None, name: str | None = None
    ) -> Artifact:
        """Bring in a model that was trained elsewhere: a file, a folder, or a tar archive.

        Nothing is loaded: a pickle first runs when the endpoint loads it, so bring in only what
        you trust; that you did is recorded as your consent. `framework` is a name or a pin such as
        `sklearn==1.4.2`.

        Raises:
            ConfigError: There is no such file, or an archive in it is not safe to unpack.
        """
        from freelane.runtime import seal  # noqa: PLC0415 - a listing imports no model

        config = self._session.config
        config.require_project()
        source = Path(file).expanduser()
        if not (source.is_file() or source.is_dir()):
            what = "is no file or folder" if source.exists() else "is not there"
            raise ConfigError(f"{source} {what}: name a model file, a folder of them or an archive")
        if config.root.resolve().is_relative_to(source.resolve()):  # as of an unset "$FILE"
            raise ConfigError(f"{source} is the project itself: name the model in it")
        wanted = Framework.parse(framework) if framework else None
        frameworks = {wanted.name: wanted.version or ""} if wanted else {}
        with tempfile.TemporaryDirectory(prefix="freelane-import-") as temporary:
            folder = Path(temporary)
            _lay_out(source, folder)
            manifest = seal.manifest_of(
                folder,
                python="",
                frameworks=frameworks,
                job=None,
                created=self._session.clock.now(),
            )
            if not manifest.files:
                raise ConfigError(f"{source} holds no file to import")
            record = self._session.artifacts.take_in(
                folder,
                manifest,
                provider=config.provider_for(Verb.DEPLOY),
                name=check_name(config.project.name if name is None else name, what="artifact"),
            )
        return Artifact(record)

    def pull(self, reference: str, folder: Path | str) -> Path:
        """Copy a model (by artifact, or by the job that wrote it) into `folder`, verified.

        Raises:
            ResourceConflict: The folder has files in it; nothing is overwritten.
            ResourceNotFound: There is nothing to bring.
        """
        target = Path(folder).expanduser()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ResourceConflict(
                f"{target} is not an empty folder; nothing is overwritten", provider="local"
            )
        artifact = find_model(self._session, reference)
        parent = target.absolute().parent
        if not parent.is_dir():
            raise ConfigError(f"there is no folder {parent} to put {target.name} in")
        staging = parent / f".{target.name}-{secrets.token_hex(8)}"
        staging.mkdir()  # open to whom the user's umask opens it
        try:
            self._session.artifacts.fetch(artifact, staging)
            staging.replace(target)  # over an empty folder or nothing
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return target


def _lay_out(source: Path, folder: Path) -> None:
    from freelane.runtime import archive  # noqa: PLC0415 - a listing imports no model

    if source.is_dir():
        shutil.copytree(
            source, folder, symlinks=True, copy_function=_copy_plain, dirs_exist_ok=True
        )
    elif archive.is_archive(source):
        archive.unpack(source, folder)
    else:
        shutil.copyfile(source, folder / source.name)


def _copy_plain(source: str, target: str) -> None:
    """Copy a regular file; reading a pipe or a device might never end."""
    if not Path(source).is_file():
        raise ConfigError(f"{source} is a device, a pipe or a socket; a model holds files only")
    shutil.copy2(source, target)
