"""Asks a local endpoint's server whatever schemathesis makes of its own OpenAPI document.

    pip install -e '.[dev]'
    python benchmarks/fuzz.py                        # 20,000 requests, about ten minutes
    python benchmarks/fuzz.py --requests 500         # its short form, which CI runs

The model answers all that it is asked, so a 5xx is the server's own fault: but for 501, which says
that this model or server has no such thing. No answer may take ten seconds, and each has to be
what the document says of it: its status, its content type, its schema.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

TOKEN = "a-token-for-nobody-else"  # noqa: S105 - of a server that lives for minutes
HANG_S = 10.0
UNSUPPORTED, SERVER_ERROR = 501, 500
PREDICT = """
def load(model_dir):
    return 1
def predict(model, instances, parameters=None):
    return instances
def generate(model, messages, parameters):
    yield from str(messages[-1]["content"]).split(" ")
def embed(model, texts):
    return [[float(len(text)), 1.0] for text in texts]
"""
_AS_TOLD = [status_code_conformance, content_type_conformance, response_schema_conformance]


@dataclass
class Outcome:
    """What was answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    """Answers that are not as the document says."""
    slowest_s: float = 0.0


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An endpoint's server: its URL and its process."""
    source = folder / "source"
    for made in (source, folder / "model", folder / "store"):
        made.mkdir()
    (source / "predict.py").write_text(PREDICT)
    spec = EndpointSpec(
        project="fuzz",
        name="fuzz",
        source=source,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(folder / "model")),
    )
    bundle.write(spec, folder / "work")
    (folder / "token").write_text(TOKEN)
    order = {
        "name": "fuzz",
        "bundle": str(folder / "work"),
        "python": sys.executable,
        "model": str(folder / "model"),
        "token_file": str(folder / "token"),
        "ready_file": str(folder / "ready.json"),
        "access_log": str(folder / "access.log"),
        "async_folder": str(folder / "store"),
    }
    (folder / "order.json").write_text(json.dumps(order))
    argv = [sys.executable, "-P", "-m", "freelane.runtime.server", str(folder / "order.json")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, env=os.environ) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not (folder / "ready.json").exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit((folder / "log").read_text())
                time.sleep(0.02)
            port = json.loads((folder / "ready.json").read_text())["port"]
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.wait(30)


def ask(case: Case, session: requests.Session, outcome: Outcome) -> None:
    """Send one request, and note what is wrong with its answer."""
    what = f"{case.method} {case.formatted_path}"
    begun = time.monotonic()
    try:
        reply = case.call(
            session=session, timeout=HANG_S, headers={"Authorization": f"Bearer {TOKEN}"}
        )
    except requests.Timeout:
        outcome.hangs.append(what)
        return
    except requests.ConnectionError as error:
        outcome.faults.append(f"{what}: {error}")
        return
    outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - begun)
    outcome.statuses[reply.status_code] += 1
    outcome.operations[case.operation.label] += 1
    if reply.status_code >= SERVER_ERROR and reply.status_code != UNSUPPORTED:
        outcome.faults.append(
            f"{what}: {reply.status_code} {reply.content[:300]!r}\n  {case.body!r}"
        )
    try:
        case.validate_response(reply, checks=_AS_TOLD)
    except FailureGroup as failures:
        told = "; ".join(f"{one.title}: {one.message[:200]}" for one in failures.exceptions)
        outcome.untold.append(f"{what}: {reply.status_code} {reply.content[:200]!r}: {told}")


def run(url: str, wanted: int) -> Outcome:
    """Ask `wanted` requests, spread over all operations."""
    outcome = Outcome()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    made = [
        (operation, mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for operation in operations
    ]
    number = 0
    with requests.Session() as session:
        while (done := sum(outcome.statuses.values())) < wanted:
            each = max(1, (wanted - done) // len(made))
            for operation, mode in made:
                number += 1
                # What has no parameters and no body is asked in one way only.
                has_more = operation.body or any(operation.iter_parameters())
                examples = min(each, wanted) if has_more else 1

                @seed(number)
                @settings(
                    max_examples=examples,
                    database=None,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate],
                )
                @given(operation.as_strategy(generation_mode=mode))
                def one(case: Case) -> None:
                    ask(case, session, outcome)

                try:
                    one()
                except Unsatisfiable:
                    continue  # nothing about it can be asked wrongly
            if len(outcome.hangs) + len(outcome.faults) > wanted // 2:
                break
    return outcome


def main() -> None:
    """Run, print what came of it, exit 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    wanted = parser.parse_args().requests
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="freelane-fuzz-"))
    begun = time.monotonic()
    try:
        with server(folder) as (url, process):
            outcome = run(url, wanted)
            is_alive = process.poll() is None
        log = (folder / "log").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    asked = sum(outcome.statuses.values()) + len(outcome.hangs)
    took_s = time.monotonic() - begun
    print(f"{asked} requests of {len(outcome.operations)} operations in {took_s:.0f} s")
    print("statuses: " + ", ".join(f"{k}: {v}" for k, v in sorted(outcome.statuses.items())))
    print(f"slowest answer {outcome.slowest_s * 1000:.0f} ms")
    unforeseen = log.count("Traceback (most recent call last)")
    rows = (
        ("framework 5xx and broken connections", outcome.faults),
        (f"hangs over {HANG_S:.0f} s", outcome.hangs),
        ("answers not as documented", outcome.untold),
    )
    for what, found in rows:
        print(f"{what}: {len(found)}")
        for line in found[:10]:
            print(f"  {line}")
    print(f"tracebacks in the log: {unforeseen}")
    if unforeseen:
        print(log[-4000:])
    if any(found for _, found in rows) or unforeseen or not is_alive:
        sys.exit(1)


if __name__ == "__main__":
    main()
