"""The numbers that a script tells of itself: live, line by line, and at its end."""

import json
import math
import stat
from pathlib import Path

from freelane_local.plain_file import read_plain

_LONGEST_METRICS_BYTES = 2**20


class LiveMetrics:
    """Lines of JSON objects as a script appends them; the newest number of each name counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.values: dict[str, float] = {}
        self.last = ""

    def follow(self) -> bool:
        """Read what is new; whether there was anything."""
        try:
            seen = self._path.stat()
            if seen.st_size <= self._offset or not stat.S_ISREG(seen.st_mode):
                return False
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read(_LONGEST_METRICS_BYTES)
        except OSError:
            return False
        whole = content.rfind(b"\n") + 1
        if not whole:
            # A line too long to be metrics is passed over.
            self._offset += len(content) if len(content) == _LONGEST_METRICS_BYTES else 0
            return False
        self._offset += whole
        found = False
        for line in content[:whole].splitlines():
            numbers, _ = _numbers(line)
            if numbers:
                found = True
                self.values.update(numbers)
                self.last = " ".join(f"{name}={value:g}" for name, value in numbers.items())
        return found


def final_metrics(path: Path) -> tuple[dict[str, float], str]:
    """`metrics.json`, and a warning about what of it could not be read."""
    try:
        content = read_plain(path, _LONGEST_METRICS_BYTES + 1)
        if len(content) > _LONGEST_METRICS_BYTES:
            return {}, "metrics.json was left out: it is larger than 1 MiB"
        numbers, others = _numbers(content)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"metrics.json was left out: {error.strerror}"
    return numbers, f"metrics.json was left out in part: {', '.join(others[:3])}" if others else ""


def _numbers(text: bytes) -> tuple[dict[str, float], list[str]]:
    """The finite numbers of a JSON object by name, and the names of what is not one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}, ["it is not JSON"]
    if not isinstance(document, dict):
        return {}, ["it is not a JSON object"]
    numbers: dict[str, float] = {}
    others: list[str] = []
    for name, value in document.items():
        try:
            number = float(value) if isinstance(value, int | float) else math.nan
        except OverflowError:
            number = math.nan
        if math.isfinite(number):
            numbers[name] = number
        else:
            others.append(f"{name} is not a finite number")
    return numbers, others
