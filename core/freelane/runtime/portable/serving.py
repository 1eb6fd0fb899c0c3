"""Serves a model: verifies it, loads it, answers until its time is over or nobody needs it."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import access, loading, rates, server, use
from .routes import Paths, Routes
from .task import ServingTask, TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
DRAIN_S = 8.0  # whoever stops an endpoint waits ten seconds before it kills


@dataclass(frozen=True)
class Settings:
    """What the provider sets, read from the environment."""

    host: str
    port: int
    access: access.Access
    paths: Paths
    expires_at: float | None
    ready_file: Path | None
    parent: int | None
    used_file: Path | None
    model: loading.Model


def read_settings(environ: Mapping[str, str], name: str) -> Settings:
    """The settings, or what is wrong with them.

    Raises:
        TaskError: A variable does not hold.
    """
    get = environ.get
    model = loading.model_of(environ)
    port = get("FREELANE_SERVE_PORT") or get("AIP_HTTP_PORT") or get("SAGEMAKER_BIND_TO_PORT")
    ready = get("FREELANE_SERVE_READY_FILE")
    parent = get("FREELANE_SERVE_PARENT_FD")
    expires = get("FREELANE_SERVE_EXPIRES_AT")
    used = get("FREELANE_SERVE_USED_FILE")
    hosts = get("FREELANE_SERVE_ALLOWED_HOSTS")
    try:
        return Settings(
            host=get("FREELANE_SERVE_HOST") or "127.0.0.1",
            port=int(port) if port else DEFAULT_PORT,
            access=access.Access(
                hosts=_hosts(hosts) if hosts else access.LOOPBACK,
                token=_token(get("FREELANE_SERVE_TOKEN_FILE")),
            ),
            paths=Paths(
                name=get("FREELANE_SERVE_NAME") or name,
                health=get("AIP_HEALTH_ROUTE"),
                predict=get("AIP_PREDICT_ROUTE"),
            ),
            expires_at=float(expires) if expires else None,
            ready_file=Path(ready).absolute() if ready else None,
            parent=int(parent) if parent else None,
            used_file=Path(used).absolute() if used else None,
            model=model,
        )
    except ValueError as error:
        raise TaskError(f"a variable of the server is no number: {error}") from error


def run(folder: Path, task: ServingTask, environ: Mapping[str, str]) -> int:
    """Serve to the end; answers the exit code, 3 where the model could not be loaded."""
    settings = read_settings(environ, task.name)
    stop = threading.Event()
    # A load that lasts is ended at once: nothing is being answered yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    watch = _Watch(settings, stop)
    watch.start()
    try:
        listening = _prepare(folder, task, settings)
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
        return _failed(settings, loading.reason_of(error))
    watch.loaded = True
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    threading.Thread(target=listening.serve_forever, args=(0.2,), daemon=True).start()
    _write_ready(settings, {"port": listening.server_address[1], "pid": os.getpid()})
    while not stop.wait(1.0):
        pass
    listening.drain(DRAIN_S)
    listening.rates.close()
    return 0


def _prepare(folder: Path, task: ServingTask, settings: Settings) -> server.Server:
    model = loading.load(folder, task, settings.model)
    try:
        return server.Server(
            (settings.host, settings.port),
            Routes(model, settings.paths),
            settings.access,
            rates.MemoryRates({float(window): limit for window, limit in task.rate.items()}),
            server.Limits(),
            use=use.LastUse(settings.used_file),
        )
    except OSError as error:
        raise TaskError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}"
        ) from error


class _Watch(threading.Thread):
    """Ends the endpoint when its time is over, which may be moved, or who wanted it is gone."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._expires_at = settings.expires_at
        # A wall clock that is set back must not let the endpoint live longer.
        left = math.inf if self._expires_at is None else self._expires_at - time.time()
        self._ends_at = time.monotonic() + left
        self._parent = settings.parent
        self._stop_serving = stop
        self.loaded = False

    def run(self) -> None:
        while not self._over():
            pass
        if self.loaded:
            self._stop_serving.set()
        else:  # the user's code may load for as long as it likes
            os._exit(0)

    def _over(self) -> bool:
        left = min(1.0, self._ends_at - time.monotonic())
        if self._expires_at is not None:
            left = min(left, self._expires_at - time.time())
        if left <= 0:
            return True
        if self._parent is None:
            time.sleep(left)
            return False
        try:
            readable, _, _ = select.select([self._parent], [], [], left)
            if not readable:
                return False
            told = os.read(self._parent, 4096)
            if told:
                self._move(told)
            return not told
        except (OSError, ValueError):
            return True

    def _move(self, told: bytes) -> None:
        """Take the last of the lines: each says how many seconds are left."""
        left = float(told.split()[-1])
        self._ends_at = time.monotonic() + left
        self._expires_at = None if math.isinf(left) else time.time() + left


def _hosts(text: str) -> frozenset[str]:
    return frozenset(host.strip().lower() for host in text.split(",") if host.strip())


def _token(file: str | None) -> str | None:
    if not file:
        return None
    try:
        token = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"the token file cannot be read: {error}") from error
    if len(token) < access.SHORTEST_TOKEN:
        raise TaskError(f"the token has to have {access.SHORTEST_TOKEN} characters or more")
    return token


def _failed(settings: Settings, reason: str) -> int:
    sys.stderr.write(f"freelane: {reason}\n")
    _write_ready(settings, {"error": reason})
    return loading.FAILED


def _write_ready(settings: Settings, document: Mapping[str, object]) -> None:
    if settings.ready_file is None:
        return
    partial = settings.ready_file.with_name(f".{settings.ready_file.name}.{os.getpid()}")
    partial.write_text(json.dumps(document), "utf-8")
    partial.replace(settings.ready_file)
