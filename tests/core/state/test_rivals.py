"""Several processes at once on one database."""

import json
import subprocess
import sys
from collections import Counter

from freelane.state import operations

PROCESSES = 8
NAMES = 20

RIVAL = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from freelane.model.endpoint import Endpoint
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation, Verb
from freelane.state import endpoints, operations
from freelane.store.engine import open_store

url, folder, me, names = json.loads(sys.argv[1])
now = datetime.now(UTC)
store = open_store(url, Path(folder))
holder = operations.Holder("here", me, 0.5)
print("ready", flush=True)
sys.stdin.readline()
won = {"claim": [], "begin": [], "take": []}
for n in range(names):
    endpoint = Endpoint(
        name=f"e{n}", project=f"p{me}", provider="local", emulated=False, handle=None,
        spec_hash="", operation=f"{me}-{n}", artifact="a", job=None,
        state=EndpointState.CREATING, detail="", created=now,
    )
    operation = Operation(
        id=f"{me}-{n}", verb=Verb.DEPLOY, owner="o", project="p", provider="local",
        emulated=False, name=f"e{n}", spec_hash="", created=now,
    )
    with store.begin() as c:
        if endpoints.claim(c, "o", endpoint) is None:
            won["claim"].append(n)
    with store.begin() as c:
        standing = operations.begin(c, operation, holder)
        if standing is None:
            won["begin"].append(n)
    with store.begin() as c:
        if operations.take_over(c, f"t{n}", holder, expected=operations.Holder("gone", 1, 0.0)):
            won["take"].append(n)
store.close()
print(json.dumps(won))
"""


OPENING = """
import json, sys
from pathlib import Path
from freelane.store.engine import open_store

url, folder = json.loads(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store = open_store(url, Path(folder))
print(json.dumps(store.created))
store.close()
"""


def race(script, arguments):
    """Start a process for each argument, let all go at once; what each printed as JSON."""
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(argument)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for argument in arguments
    ]
    try:
        for rival in rivals:
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            rival.stdin.write("go\n")
            rival.stdin.flush()
        return [json.loads(rival.communicate(timeout=60)[0]) for rival in rivals]
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()


def test_of_eight_processes_exactly_one_wins_each_name(
    store, database_url, tmp_path, new_operation
):
    with store.begin() as c:
        for n in range(NAMES):
            operations.begin(
                c, new_operation(f"t{n}", name=f"t{n}"), operations.Holder("gone", 1, 0.0)
            )
    folder = str(tmp_path / "freelane")
    won = race(RIVAL, [[database_url, folder, me, NAMES] for me in range(PROCESSES)])
    for contest in ("claim", "begin", "take"):
        winners = Counter(n for each in won for n in each[contest])
        assert winners == dict.fromkeys(range(NAMES), 1), contest


def test_processes_that_make_the_database_at_once_all_get_it(database_url, tmp_path):
    created = race(OPENING, [[database_url, str(tmp_path / "a" / "b")]] * 4)
    assert sorted(created) == [False, False, False, True]
