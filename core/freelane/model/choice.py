"""Which instance type and which framework version a spec gets: pure choices.

A plugin brings the offers; these functions only choose among them, so every provider chooses
alike and the choice can be tested without one.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from freelane.errors import ConfigError
from freelane.model.resources import NO_ACCELERATOR, Accelerator, Resources

_PIN = re.compile(
    r"(?P<name>[a-z][a-z0-9_-]*)(?:==(?P<version>\d+(?:\.\d+)*(?:[-.+]?[a-z][a-z0-9.+-]*|[-+]\d[a-z0-9.+-]*)?))?",
    re.ASCII,
)
_LEADING = re.compile(r"\d+(?:\.\d+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One kind of machine that a provider offers."""

    name: str
    cpus: float
    memory_bytes: int
    accelerator: Accelerator = NO_ACCELERATOR
    nano_usd_per_hour: int | None = None
    """Billionths of a US dollar; None is an unknown price, never a price of zero."""

    def meets(self, wanted: Resources) -> bool:
        """Whether it has at least what is wanted."""
        card = wanted.accelerator
        return (
            (wanted.cpus is None or self.cpus >= wanted.cpus)
            and (wanted.memory_bytes is None or self.memory_bytes >= wanted.memory_bytes)
            and self.accelerator.count >= card.count
            and (card.kind is None or (self.accelerator.kind or "").lower() == card.kind.lower())
        )

    @property
    def size(self) -> tuple[int, float, int]:
        """What smallest means: cards first, then processors, then memory."""
        return (self.accelerator.count, self.cpus, self.memory_bytes)


def choose_instance_type(
    wanted: Resources,
    offers: Iterable[InstanceType],
    *,
    free: Callable[[InstanceType], bool],
    provider: str,
) -> InstanceType:
    """The smallest type that meets `wanted` and is free, else the cheapest priced one.

    `free` tells whether a remaining line of the free tier covers the type.

    Raises:
        ConfigError: Nothing on offer is large enough, or what is has no known price.
    """
    fitting = sorted((offer for offer in offers if offer.meets(wanted)), key=lambda o: o.size)
    for offer in fitting:
        if free(offer):
            return offer
    priced = [
        (offer.nano_usd_per_hour, offer.size, offer)
        for offer in fitting
        if offer.nano_usd_per_hour is not None
    ]
    if priced:
        return min(priced, key=lambda row: row[:2])[2]
    if fitting:
        names = ", ".join(offer.name for offer in fitting)
        raise ConfigError(
            f"{provider}: no price is known for {names}; name an instance_type and give its price"
        )
    raise ConfigError(
        f"{provider}: no instance type has {_describe(wanted)}; ask for less in resources"
    )


def _describe(wanted: Resources) -> str:
    parts = []
    if wanted.cpus is not None:
        parts.append(f"{wanted.cpus:g} cpus")
    if wanted.memory_bytes is not None:
        parts.append(f"{wanted.memory_bytes / 2**30:g} GiB of memory")
    if wanted.accelerator.count:
        parts.append(f"accelerator {wanted.accelerator}")
    return ", ".join(parts) or "anything"


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework by the name it is imported under, with a version where one is pinned."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Framework":
        """Read `sklearn` or `sklearn==1.4.2`.

        Raises:
            ConfigError: It is neither.
        """
        match = _PIN.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"framework {text!r} is not known: write a name (sklearn) or a pin (sklearn==1.4.2)"
            )
        return cls(match["name"], match["version"])

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkOffers:
    """Versions for which a provider has images: framework name -> versions."""

    training: Mapping[str, Sequence[str]]
    serving: Mapping[str, Sequence[str]]

    def both(self, name: str) -> list[str]:
        """Versions that training and serving both offer, oldest first."""
        serving = set(self.serving.get(name, ()))
        return sorted(serving.intersection(self.training.get(name, ())), key=_version_order)


def version_key(version: str) -> tuple[int, ...]:
    """Order versions by their leading numbers: 1.10 comes after 1.9."""
    leading = _LEADING.match(version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def _version_order(version: str) -> tuple[tuple[int, ...], str]:
    """A total order: builds of one version, 1.2-1 and 1.2-2, keep theirs from run to run."""
    return version_key(version), version


def choose_framework(
    wanted: Framework, offers: FrameworkOffers, *, installed: str | None, provider: str
) -> Framework:
    """One version that training and serving both offer: the pin, or the nearest to `installed`.

    Nearest is the same major and minor version, then the newest not newer than the installed one,
    then the oldest newer one; with nothing installed, the newest.

    Raises:
        ConfigError: The pin, or the framework, is not on offer in both; the message lists what is.
    """
    versions = offers.both(wanted.name)
    if not versions:
        names = ", ".join(sorted(n for n in offers.training if offers.both(n))) or "none"
        raise ConfigError(f"{provider} offers no framework {wanted.name!r}; it offers {names}")
    if wanted.version is not None:
        if wanted.version in versions:
            return wanted
        raise ConfigError(
            f"{provider} does not offer {wanted}; both training and serving offer "
            + ", ".join(f"{wanted.name}=={version}" for version in versions)
        )
    return Framework(wanted.name, _nearest(versions, installed))


def _nearest(versions: Sequence[str], installed: str | None) -> str:
    """`versions` is sorted, oldest first, and not empty."""
    if installed is None:
        return versions[-1]
    target = version_key(installed)
    same_minor = [version for version in versions if version_key(version)[:2] == target[:2]]
    not_newer = [version for version in same_minor or versions if version_key(version) <= target]
    return not_newer[-1] if not_newer else (same_minor or versions)[0]
