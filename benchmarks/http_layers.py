"""HTTP layers that answer a constant: what was compared before Freelane had one of its own.

    pip install -e '.[dev]'; apt-get install wrk nginx
    python benchmarks/http_layers.py    # 5 rounds of 3 s, the figures of docs/performance.md
    python benchmarks/http_layers.py --rounds 1 --seconds 1 --without granian nginx

A POST of one row with 64 numbers, at 64 connections and at one. Every layer serves all the while;
each round asks them one after the other, so that a slow moment of the machine is everybody's.
uvicorn and granian get an environment of their own in a cache folder.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from load import Call, Found, free_port, running, wrk
from rooms import room

PEERS = Path(__file__).with_name("peers")
UVICORN = ("uvicorn==0.54.0", "httptools==0.9.0", "uvloop==0.23.0")
GRANIAN = ("granian==2.8.7", "uvloop==0.23.0")
ROW = [round(n / 64, 3) for n in range(64)]
CALL = Call("/v1/endpoints/digits/predict", json.dumps({"instances": [ROW]}).encode())
NAMES = ("bare", "freelane", "granian", "uvicorn", "nginx")
NGINX = """
daemon off; master_process off; pid %(folder)s/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path %(folder)s/body; keepalive_requests 100000000;
  server { listen 127.0.0.1:%(port)d; location / { return 200 '{"predictions":[1]}'; } } }
"""


def command(name: str, port: int, folder: Path) -> list[str]:
    """How a layer is started."""
    if name == "bare":
        return [sys.executable, str(PEERS / "bare.py"), str(port), "constant"]
    if name == "freelane":
        return [sys.executable, str(PEERS / "constant.py"), str(port)]
    if name == "uvicorn":
        args = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--lifespan", "off"]
        python = str(room("uvicorn", UVICORN))
        return [python, "-m", "uvicorn", "asgi:app", "--port", str(port), *args]
    if name == "granian":
        args = ["--interface", "rsgi", "--loop", "uvloop", "--workers", "1", "--no-access-log"]
        python = str(room("granian", GRANIAN))
        return [
            python,
            "-m",
            "granian",
            "rsgi:app",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *args,
        ]
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX % {"folder": folder, "port": port})
    return ["nginx", "-c", str(configuration)]


def rounds(names: list[str], count: int, seconds: float) -> Iterator[tuple[str, int, Found]]:
    """Ask every layer in every round; name, connections and what was found."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {}
        for name in names:
            ports[name] = port = free_port()
            argv = command(name, port, folder)
            log = folder / f"{name}.log"
            stack.enter_context(running(argv, port, CALL, cwd=PEERS, log=log))
            wrk(port, CALL, connections=64, seconds=1)
        for number in range(count):
            print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
            for connections in (64, 1):
                for name in names:
                    found = wrk(ports[name], CALL, connections=connections, seconds=seconds)
                    yield name, connections, found


def main() -> int:
    """Print a row a layer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--without", nargs="*", choices=NAMES, default=[])
    options = parser.parse_args()
    names = [name for name in NAMES if name not in options.without]
    found: dict[tuple[str, int], list[Found]] = {}
    for name, connections, one in rounds(names, options.rounds, options.seconds):
        found.setdefault((name, connections), []).append(one)
    print(
        "| layer | 64 connections, requests/s | of bare | p99 ms | 1 connection, p50 us | of bare |"
    )
    print("|---|---|---|---|---|---|")
    for name in names:
        many, single = found[name, 64], found[name, 1]
        rate = statistics.median(one.rate for one in many)
        part = statistics.median(
            ours.rate / bare.rate for ours, bare in zip(many, found["bare", 64], strict=True)
        )
        p99 = statistics.median(one.p99_ms for one in many)
        p50 = statistics.median(one.p50_ms for one in single)
        times = statistics.median(
            ours.p50_ms / bare.p50_ms for ours, bare in zip(single, found["bare", 1], strict=True)
        )
        alone = f"{1000 * p50:.0f} | {times:.2f} x"
        print(f"| {name} | {rate:,.0f} | {part:.2f} x | {p99:.2f} | {alone} |")
    errors = sum(one.errors for many in found.values() for one in many)
    print(f"{options.rounds} rounds of {options.seconds:g} s; {errors} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
