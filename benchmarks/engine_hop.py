"""What an endpoint before an OpenAI-compatible engine adds to the engine's own time.

    pip install -e '.[dev]'
    python benchmarks/engine_hop.py                # 5 rounds of 500 chats
    python benchmarks/engine_hop.py --rounds 1 --chats 50

The engine answers at once, with a stream of 1 and of 64 pieces. It is asked directly and through
an endpoint, in turns on one connection each: until the first piece, and until the last.
"""

import argparse
import http.client
import json
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from load import Call, free_port, running

PEER = Path(__file__).with_name("peers") / "engine.py"
TOKEN = secrets.token_urlsafe(32)
PATH = "/v1/chat/completions"
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
).encode()


class Caller:
    """Asks for streamed chats on one connection."""

    def __init__(self, port: int) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self) -> tuple[float, float]:
        """Seconds until the first piece, and until the last."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        started = time.perf_counter()
        self._line.request("POST", PATH, BODY, headers)
        reply = self._line.getresponse()
        reply.read(16)
        first = time.perf_counter() - started
        rest = reply.read()
        if not rest.rstrip().endswith(b"[DONE]"):
            raise SystemExit(f"no whole answer: {reply.status} {rest[:200]!r}")
        return first, time.perf_counter() - started


def order(folder: Path, engine_port: int, port: int) -> list[str]:
    """The command that serves an endpoint before the engine."""
    (folder / "token").write_text(TOKEN)
    engine = {"url": f"http://127.0.0.1:{engine_port}/v1", "model": "m"}
    document = {
        "name": "chat",
        "bundle": str(folder),
        "python": sys.executable,
        "model": str(folder),
        "engine": engine,
        "port": port,
        "token_file": str(folder / "token"),
    }
    (folder / "order.json").write_text(json.dumps(document))
    return [sys.executable, "-P", "-m", "freelane.runtime.server", str(folder / "order.json")]


def compare(pieces: int, rounds: int, chats: int) -> None:
    """Print one line a round, and the medians."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        engine, endpoint = free_port(), free_port()
        post = Call(PATH, BODY, {"Authorization": f"Bearer {TOKEN}"})
        for port, argv in [
            (engine, [sys.executable, str(PEER), str(engine), str(pieces)]),
            (endpoint, order(folder, engine, endpoint)),
        ]:
            held.enter_context(running(argv, port, post, cwd=folder, log=folder / f"log.{port}"))
        direct = Caller(engine)
        through = Caller(endpoint)
        added = []
        for _ in range(rounds):
            took = [(direct.ask(), through.ask()) for _ in range(chats)]
            alone = [statistics.median(one[0][part] for one in took) for part in (0, 1)]
            behind = [statistics.median(one[1][part] for one in took) for part in (0, 1)]
            added.append([1e6 * (b - a) for a, b in zip(alone, behind, strict=True)])
            print(
                f"{pieces:3} pieces: the engine alone {1e6 * alone[0]:.0f} us to the first, "
                f"{1e6 * alone[1]:.0f} us to the last; added {added[-1][0]:.0f} and "
                f"{added[-1][1]:.0f} us"
            )
        first, last = (statistics.median(one[part] for one in added) for part in (0, 1))
        print(
            f"{pieces:3} pieces, median: added {first:.0f} us to the first, {last:.0f} to the last"
        )


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chats", type=int, default=500)
    asked = parser.parse_args()
    for pieces in (1, 64):
        compare(pieces, asked.rounds, asked.chats)


if __name__ == "__main__":
    main()
