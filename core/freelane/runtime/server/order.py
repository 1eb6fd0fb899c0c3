"""What the server is asked to be: a JSON file that whoever starts it writes; it holds no secret."""

from pathlib import Path
from typing import Literal

import msgspec


class RateOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The endpoint's limits, counted on the ledger.

    A database URL, where there is one, comes as FREELANE_DATABASE_URL: it may hold a password.
    """

    folder: str
    """Where SQLite's file lies."""
    provider: str
    emulated: bool
    subject: str
    """OWNER/ENDPOINT."""
    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    month: int | None = None


class EngineOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenAI-compatible engine that answers in the model's place."""

    url: str
    """Up to and with `/v1`."""
    model: str
    """As the engine calls it."""
    key_variable: str | None = None
    """The environment variable that holds its key."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One endpoint's server. Durations in seconds, sizes in bytes."""

    name: str
    """The endpoint's, as it stands in the native and SageMaker paths."""
    revision: str = "1"
    bundle: str
    """The folder that `bundle.write` filled: its task.json says what is served."""
    python: str
    """The interpreter of the workers."""
    model: str
    manifest: str | None = None
    digest: str | None = None
    isolation: Literal["process", "none"] = "process"
    engine: EngineOrder | None = None
    workers_min: int = 1
    """0: the model is parked when nobody asks."""
    workers_max: int = 1
    cards: tuple[str, ...] = ()
    """GPU ids; shared by all workers, or one part each where there are enough."""
    max_batch_size: int = 64
    """Rows in one call of the model, at most; one request with more is a call of its own."""
    max_queue: int = 1024
    """Requests that wait, at most."""
    timeout_s: float = 60.0
    """How long a caller waits; a call of the model that takes longer ends its worker."""
    start_timeout_s: float = 300.0
    park_after_s: float | None = 900.0
    worker_memory_bytes: int | None = None
    """A worker that holds more is replaced between two calls."""
    grace_s: float = 10.0
    warm_up: str | None = None
    """A file of the bundle's code: a request that is answered before the endpoint is ready."""
    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: tuple[str, ...] = ()
    """Beside the loopback names."""
    token_file: str | None = None
    ready_file: str | None = None
    """Written once it answers, {"port", "pid"}, or why it cannot, {"error"}."""
    used_file: str | None = None
    access_log: str | None = None
    async_folder: str | None = None
    """What s3://BUCKET/KEY of asynchronous invocations lies below; None: there are none."""
    expires_at: float | None = None
    rate: RateOrder | None = None


def read(file: Path) -> Order:
    """The order of a file.

    Raises:
        ValueError: It is none.
        OSError: It cannot be read.
    """
    return msgspec.json.decode(file.read_bytes(), type=Order)
