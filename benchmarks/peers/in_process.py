"""The limit: the model in a process of its own, called as often as it can be: `FILE`.

Prints rows a second at 64 rows a call, and the median call of one row in milliseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import joblib
import numpy as np
from sklearn.datasets import load_digits

LONG_S = 2.0


def calls(call: Callable[[], object]) -> list[float]:
    """How long each call took, in seconds."""
    took: list[float] = []
    until = time.perf_counter() + LONG_S
    while (began := time.perf_counter()) < until:
        call()
        took.append(time.perf_counter() - began)
    return took


if __name__ == "__main__":
    model = joblib.load(sys.argv[1])
    rows = np.asarray(load_digits().data[:64])
    model.predict(rows)
    many = calls(lambda: model.predict(rows).tolist())
    single = calls(lambda: model.predict(rows[:1]).tolist())
    found = {
        "rows_per_s": 64 * len(many) / sum(many),
        "call_ms": statistics.median(single) * 1000,
    }
    print(json.dumps(found))
