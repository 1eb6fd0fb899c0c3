"""The verb `demo`: the main job on real data, from nothing to an answer, leaving nothing."""

import contextlib
import importlib.util
import json
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.options import Session, Verb
from freelane.cli.templates import project_files
from freelane.errors import ConfigError, FreelaneError, JobFailed, ProviderUnavailable

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.endpoints import Endpoint
    from freelane.client.jobs import Job

PROJECT = "freelane-demo"
TTL = "10m"
STOP_S = 30.0
"""How long an interrupted job may take to stop, in seconds."""
LEAST_ACCURACY = 0.95
_STEPS = ("data", "train", "deploy", "predict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the endpoint said about the images that training never saw."""

    right: int
    total: int
    latencies_ms: Sequence[float]

    @property
    def accuracy(self) -> float:
        return self.right / self.total

    def latency_ms(self, percentile: int) -> float:
        """The latency that `percentile` of 100 requests stay below."""
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[percentile - 1]


@click.command("demo", cls=Verb)
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR",
    help="Leave the project there, to play with.",
)  # fmt: skip
@click.pass_context
def demo(ctx: click.Context, session: Session, *, keep: Path | None) -> None:
    """Train, serve and predict handwritten digits here, then clean up.

    Trains on three quarters of scikit-learn's 1,797 images, and asks the endpoint about the rest
    over HTTP. Exit code 1 if fewer than 95 % are right.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ProviderUnavailable("the demo needs scikit-learn", extra="demo")
    begun = time.perf_counter()
    seconds: dict[str, float] = {}
    with (
        _ended_by_signals(),
        _project(keep) as folder,
        session.output.progress("making the data") as progress,
    ):
        with _timed("data", seconds):
            run_script(folder / "make_data.py")
        with _open(session, folder) as client:
            progress.doing("training")
            with _timed("train", seconds):
                job, lines = _train(client, f"demo-{secrets.token_hex(4)}")
            progress.doing("deploying")
            with _served(client, job, seconds) as endpoint:
                progress.doing("predicting")
                with _timed("predict", seconds):
                    answers = ask(endpoint, folder)
                served = endpoint.to_json()
            model = client.artifacts.get(job.artifact or "")
    passed = answers.accuracy >= LEAST_ACCURACY
    document = {
        "passed": passed,
        "accuracy": answers.accuracy,
        "right": answers.right,
        "total": answers.total,
        "latency_ms": {
            "p50": round(answers.latency_ms(50), 3),
            "p95": round(answers.latency_ms(95), 3),
        },
        "seconds": {name: round(seconds[name], 3) for name in _STEPS}
        | {"total": round(time.perf_counter() - begun, 3)},
        "artifact": {"id": model.id, "size_bytes": model.record.size_bytes},
        "provider": job.provider,
        "cost_usd": job.record.cost_usd,
        "job": job.to_json(),
        "endpoint": served,
        "kept": keep.resolve() if keep is not None else None,
    }

    def people() -> None:
        for line in lines:
            session.output.note(f"  {line}")
        _show(job, model.record.size_bytes, answers, seconds, time.perf_counter() - begun)
        session.output.note(f"nothing is left running; next: {_next(keep)}")

    session.output.result({"demo": document}, people)
    if not passed:
        ctx.exit(1)


def ask(endpoint: "Endpoint", folder: Path) -> Answers:
    """One request for each image that was held back."""
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    right = 0
    latencies_ms = []
    for row, label in zip(rows, labels, strict=True):
        answer = endpoint.predict([row])
        right += answer.predictions[0] == label
        latencies_ms.append(answer.latency_ms)
    return Answers(right=right, total=len(labels), latencies_ms=latencies_ms)


def run_script(script: Path) -> None:
    """Run one of the project's own scripts, as its user would.

    Raises:
        ConfigError: It failed; the message carries its last line.
    """
    done = subprocess.run(  # noqa: S603 - our own file, this very interpreter
        [sys.executable, script.name],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ConfigError(f"{script.name} failed: {said[-1] if said else 'it says nothing'}")


def _train(client: "Client", name: str) -> "tuple[Job, list[str]]":
    lines: list[str] = []
    job = None
    try:
        with _signals_wait():  # half a submission could not be stopped
            job = client.jobs.submit(name=name)
        job = client.jobs.follow(job, lines.append)
    except KeyboardInterrupt:
        if job is not None:
            with _signals_wait(), contextlib.suppress(FreelaneError):
                job.stop().wait(timeout_s=STOP_S)
        raise
    if job.artifact is None:
        raise JobFailed(f"job {job.id} wrote no model", job=job.id)
    return job, lines


@contextlib.contextmanager
def _served(client: "Client", job: "Job", seconds: dict[str, float]) -> "Iterator[Endpoint]":
    """The endpoint of this run alone; gone afterwards, whatever happens."""
    try:
        with _timed("deploy", seconds):
            endpoint = client.endpoints.deploy(job, name=job.name, ttl=TTL)
        yield endpoint
    finally:
        # What went wrong before is what counts, and a second Ctrl-C must not leave it running.
        with _signals_wait(), contextlib.suppress(FreelaneError):
            client.endpoints.delete(f"{job.provider}/{job.name}")


@contextlib.contextmanager
def _project(keep: Path | None) -> Iterator[Path]:
    """The digits project in a folder of its own, gone afterwards unless it is kept."""
    if keep is not None:
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise ConfigError(f"{keep} is not an empty folder; nothing is overwritten")
        _write(keep)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="freelane-demo-") as temporary:
        _write(Path(temporary))
        yield Path(temporary)


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in project_files(PROJECT).items():
        (folder / file).write_text(text, encoding="utf-8")


def _open(session: Session, folder: Path) -> "Client":
    from freelane.client import Client  # noqa: PLC0415 - loads the house

    return Client(
        config=folder / "freelane.toml",
        provider=session.provider or "local",
        emulated=session.emulated,
    )


@contextlib.contextmanager
def _timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = time.perf_counter() - begun


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP clean up like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM, signal.SIGHUP), interrupt):
        yield


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """A signal takes effect only after the block, which must be short.

    Not by masking: a mask would be inherited by the processes that the block starts.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with _handling(numbers, lambda number, _frame: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(
    numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


def _show(
    job: "Job", size_bytes: int, answers: Answers, seconds: dict[str, float], total_s: float
) -> None:
    render.card(
        f"digits on {job.provider}",
        {
            "accuracy": f"{answers.accuracy:.4f} ({answers.right} of {answers.total} images that "
            "training never saw)",
            "latency": f"p50 {answers.latency_ms(50):.1f} ms, p95 {answers.latency_ms(95):.1f} ms "
            f"(one image a request, over HTTP)",
            "time": ", ".join(f"{name} {render.seconds_text(seconds[name])}" for name in _STEPS)
            + f"; {render.seconds_text(total_s)} in all",
            "model": f"{job.artifact} ({render.size_text(size_bytes)})",
            "cost": None if job.record.cost_usd is None else f"{job.record.cost_usd:g} USD",
        },
    )


def _next(keep: Path | None) -> str:
    if keep is not None:
        return f"cd {keep} && freelane train && freelane deploy"
    return "freelane init my-project && cd my-project && python make_data.py && freelane train"
