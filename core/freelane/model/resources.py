"""What a job or an endpoint needs from a machine."""

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from freelane.errors import ConfigError

# ASCII: without it the Kelvin sign is a K, and digits of every script are digits.
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|[KMGT]i?B)?\s*", re.IGNORECASE | re.ASCII)
_LARGEST_SIZE = 2**63 - 1
_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_ACCELERATOR = re.compile(r"(?:(?P<kind>[A-Za-z][A-Za-z0-9-]*):)?(?P<count>[1-9]\d?)", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes of a size such as `8GiB`, `100 MB` or `512`.

    Raises:
        ConfigError: It is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is not None:
        size_bytes = int(Decimal(match[1]) * _UNITS[(match[2] or "").upper()])
        if size_bytes <= _LARGEST_SIZE:
            return size_bytes
    raise ConfigError(f"{text!r} is not a size: write it like 512MiB or 8GiB")


def format_size(size_bytes: int) -> str:
    """The size as `parse_size` reads it, exactly: `100MiB`, or plain bytes."""
    for unit, length in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes and size_bytes % length == 0:
            return f"{size_bytes // length}{unit}"
    return f"{size_bytes}B"


def parse_duration(text: str) -> timedelta:
    """The duration of a text such as `30m`, `1h30m` or `45s`.

    Raises:
        ConfigError: It is not a duration, or not longer than zero.
    """
    if _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        try:
            duration = timedelta(
                seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts)
            )
        except OverflowError:
            duration = timedelta()
        if duration > timedelta():
            return duration
    raise ConfigError(f"{text!r} is not a duration: write it like 45s, 30m, 2h or 1h30m")


def format_duration(duration: timedelta) -> str:
    """The duration as `parse_duration` reads it, to the second: `1h30m`."""
    seconds = round(duration.total_seconds())
    if seconds <= 0:
        return "0s"
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How many cards, and of which kind where that matters.

    `auto` takes one card where there is one and the CPU where there is none. A named or counted
    accelerator never falls back to the CPU.
    """

    count: int = 0
    kind: str | None = None
    auto: bool = False

    @classmethod
    def parse(cls, text: str) -> "Accelerator":
        """Read `none`, `auto`, a count (`2`), or a kind and a count (`T4:1`).

        Raises:
            ConfigError: It is none of these.
        """
        if text == "none":
            return cls()
        if text == "auto":
            return cls(auto=True)
        match = _ACCELERATOR.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"accelerator {text!r} is not known: use none, auto, a count such as 1, "
                "or a kind and a count such as T4:1"
            )
        return cls(count=int(match["count"]), kind=match["kind"])

    def __str__(self) -> str:
        if self.auto:
            return "auto"
        if not self.count:
            return "none"
        return f"{self.kind}:{self.count}" if self.kind else str(self.count)


NO_ACCELERATOR = Accelerator()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What is asked of one machine; None leaves it to the provider."""

    cpus: float | None = None
    memory_bytes: int | None = None
    accelerator: Accelerator = NO_ACCELERATOR


ANY_RESOURCES = Resources()
"""Nothing in particular is asked."""
