"""Freelane's local server beside LitServe, BentoML and MLServer, and beside the limits.

    pip install -e '.[dev]'; apt-get install wrk
    python benchmarks/serving.py             # 3 rounds of 4 s, the figures of docs/performance.md
    python benchmarks/serving.py --rounds 1 --seconds 2 --without bentoml mlserver --models echo

Two models: a random forest of 100 trees on digits, whose call takes about the same for one row as
for 64, and an echo; one row a request, at 64 connections and at one. In every round each server is
started, loaded and ended in its turn, and the limits are taken: the bare protocol, and the model
called in a process of its own. A ratio is the median of the rounds' ratios. The peers get
environments of their own in a cache folder, pinned; all bytecode is compiled before.
"""

import argparse
import compileall
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import joblib
from load import Call, Running, free_port, running, wrk
from rooms import room
from serving_targets import Limit, Results, Round, report
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

import freelane
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

PEERS = Path(__file__).with_name("peers")
COMMON = tuple(f"{name}=={version(name)}" for name in ("scikit-learn", "joblib", "numpy"))
ROOMS = {
    "litserve": ("litserve==0.2.19", "uvloop==0.23.0", "httptools==0.9.0", *COMMON),
    "bentoml": ("bentoml==1.4.39", *COMMON),
    "mlserver": ("mlserver==1.7.1", *COMMON),
}
OURS = ("isolated", "none")
MODELS = ("forest", "echo")
TOKEN = secrets.token_hex(16)


@dataclass
class Bench:
    """The files that all servers share, and what is found."""

    folder: Path
    seconds: float
    rows: list[list[float]]
    results: Results = field(default_factory=Results)

    @property
    def model_file(self) -> Path:
        """The forest."""
        return self.folder / "model" / "model.joblib"

    def call(self, path: str, **headers: str) -> Call:
        """One row, as all but MLServer take it."""
        body = json.dumps({"instances": self.rows[:1]}).encode()
        return Call(path, body, {name.replace("_", "-"): value for name, value in headers.items()})


def train(folder: Path) -> list[list[float]]:
    """Save the forest; some rows to ask about."""
    digits = load_digits()
    forest = RandomForestClassifier(n_estimators=100, random_state=0)
    forest.fit(digits.data[:1500], digits.target[:1500])
    (folder / "model").mkdir()
    joblib.dump(forest, folder / "model" / "model.joblib")
    rows: list[list[float]] = digits.data[1500:1510].tolist()
    return rows


# How each server is started


@contextmanager
def peer(name: str, model: str, bench: Bench) -> Iterator[tuple[Running, Call]]:
    """A peer's server, and how it is asked."""
    port, python = free_port(), room(name, ROOMS[name])
    env = {"BENCH_MODEL": model, "BENCH_FILE": str(bench.model_file), "PYTHONPATH": str(PEERS)}
    call, cwd = bench.call("/predict"), PEERS
    if name == "litserve":
        argv = [str(python), "litserve_app.py", str(port), model, str(bench.model_file)]
    elif name == "bentoml":
        env |= {"BENTOML_HOME": str(bench.folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
        argv = [str(python), "-m", "bentoml", "serve", "bentoml_service:Service"]
        argv += ["--host", "127.0.0.1", "--port", str(port)]
    else:
        cwd = _mlserver_folder(bench.folder, port)
        argv = [str(python.with_name("mlserver")), "start", str(cwd)]
        row = bench.rows[0]
        tensor = {"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": row}
        body = json.dumps({"inputs": [tensor]}).encode()
        call = Call("/v2/models/bench/infer", body)
    log = bench.folder / f"{name}.log"
    with running(argv, port, call, cwd=cwd, env=env, log=log) as server:
        yield server, call


def _mlserver_folder(folder: Path, port: int) -> Path:
    there = folder / "mlserver"
    there.mkdir(exist_ok=True)
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
    }
    model = {
        "name": "bench",
        "implementation": "mlserver_runtime.Runtime",
        "max_batch_size": 64,
        "max_batch_time": 0.002,
    }
    (there / "settings.json").write_text(json.dumps(settings))
    (there / "model-settings.json").write_text(json.dumps(model))
    return there


@contextmanager
def bare(model: str, bench: Bench) -> Iterator[tuple[Running, Call]]:
    """The bare protocol with the model in its loop."""
    port, call = free_port(), bench.call("/")
    argv = [sys.executable, str(PEERS / "bare.py"), str(port), model, str(bench.model_file)]
    with running(argv, port, call, cwd=PEERS, log=bench.folder / "bare.log") as server:
        yield server, call


@contextmanager
def ours(
    isolation: str, model: str, bench: Bench, **more: object
) -> Iterator[tuple[Running, Call]]:
    """Freelane's server, as `freelane deploy` starts it."""
    port, folder = free_port(), bench.folder / f"freelane-{model}"
    if not folder.exists():
        artifact = ArtifactHandle("0", str(bench.folder / "model"))
        spec = EndpointSpec(
            project="bench",
            name="bench",
            source=PEERS / "freelane",
            files=(f"{model}.py",),
            script=f"{model}.py",
            artifact=artifact,
        )
        bundle.write(spec, folder)
        compileall.compile_dir(folder, quiet=1)
    token = bench.folder / "token"
    token.write_text(TOKEN)
    order = {
        "name": "bench",
        "bundle": str(folder),
        "python": sys.executable,
        "model": str(bench.folder / "model"),
        "isolation": "process" if isolation == "isolated" else "none",
        "port": port,
        "token_file": str(token),
        "used_file": str(bench.folder / "used"),
        "access_log": str(bench.folder / "access.log"),
        **more,
    }
    file = bench.folder / f"order-{isolation}-{model}.json"
    file.write_text(json.dumps(order))
    argv = [sys.executable, "-P", "-m", "freelane.runtime.server", str(file)]
    call = bench.call("/v1/endpoints/bench/predict", Authorization=f"Bearer {TOKEN}")
    log = bench.folder / f"freelane-{isolation}.log"
    with running(argv, port, call, cwd=folder, log=log) as server:
        yield server, call


# What is measured


def measure(name: str, model: str, bench: Bench) -> None:
    """One server's turn."""
    if name == "bare":
        start = bare(model, bench)
    else:
        start = (ours if name in OURS else peer)(name, model, bench)
    with start as (server, call):
        wrk(server.port, call, connections=8, seconds=1)
        many = wrk(server.port, call, connections=64, seconds=bench.seconds)
        single = wrk(server.port, call, connections=1, seconds=bench.seconds)
        one = Round(many, single, server.cold_s, server.pss_mib())
    bench.results.rounds.setdefault((name, model), []).append(one)
    print(
        f"  {model} {name}: {many.rate:,.0f}/s p50 {many.p50_ms:.2f} p99 {many.p99_ms:.2f} ms;"
        f" alone p50 {single.p50_ms:.3f} ms; cold {one.cold_s:.2f} s; {one.pss_mib:.0f} MiB;"
        f" {many.errors + single.errors} errors",
        file=sys.stderr,
        flush=True,
    )


def measure_limits(bench: Bench) -> None:
    """The model in a process of its own."""
    argv = [sys.executable, str(PEERS / "in_process.py"), str(bench.model_file)]
    said = subprocess.run(argv, check=True, capture_output=True).stdout
    limit = Limit(**json.loads(said))
    bench.results.limits.append(limit)
    print(f"  forest in process: {limit}", file=sys.stderr, flush=True)


def measure_workers(bench: Bench) -> None:
    """One worker and two, where each row holds a core."""
    rates = []
    for count in (1, 2):
        more = {"workers_min": count, "workers_max": count, "max_batch_size": 1}
        with ours("isolated", "busy", bench, **more) as (server, call):
            wrk(server.port, call, connections=8, seconds=1)
            rates.append(wrk(server.port, call, connections=16, seconds=bench.seconds).rate)
    bench.results.pairs.append((rates[0], rates[1]))
    print(f"  busy with 1 and 2 workers: {rates[0]:.0f}, {rates[1]:.0f}/s", file=sys.stderr)


def main() -> int:
    """Run the rounds; 1 with --strict where a target was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--only", nargs="*", help="these servers alone")
    parser.add_argument("--without", nargs="*", default=[], help="these servers not")
    parser.add_argument("--no-workers", action="store_true", help="not the case of two workers")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target was missed")
    options = parser.parse_args()
    wanted = [*OURS, *ROOMS] if options.only is None else options.only
    names = [name for name in wanted if name not in options.without]
    peers = [name for name in names if name in ROOMS]
    for name in peers:
        room(name, ROOMS[name])
    compileall.compile_dir(Path(freelane.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as there:
        os.chmod(there, 0o700)  # noqa: PTH101
        folder = Path(there)
        bench = Bench(folder, options.seconds, train(folder))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            for model in options.models:
                for name in ["bare", *names]:
                    measure(name, model, bench)
                if model == "forest":
                    measure_limits(bench)
            if not options.no_workers:
                measure_workers(bench)
        missed = report(bench.results, peers)
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
