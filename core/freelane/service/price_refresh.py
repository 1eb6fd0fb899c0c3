"""Reads a provider's official prices and keeps them beside the user's file.

Where prices are read from comes from a flag or is the provider's own address, never from a
project's file: only the provider's host over https, or this machine, is asked.
"""

import contextlib
import ipaddress
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote, urlsplit

from freelane.errors import ConfigError, ProviderInternal, ProviderUnreachable, StateError
from freelane.model.budget import NANO
from freelane.model.call import HttpCall, HttpReply
from freelane.quota.catalogue.offers import NotAnOffer, Offer, read_sagemaker
from freelane.quota.catalogue.pricing import REFRESHED, PriceBook, Rate
from freelane.quota.catalogue.skus import CLOUD_RUN, read_page
from freelane.transport.attempts import Effect
from freelane.transport.http import Transport
from freelane.waiting import Deadline

MAX_OFFER_BYTES = 256 * 2**20
API_KEY = "GOOGLE_API_KEY"
"""The variable with the key that Google's catalogue asks for."""
_SAGEMAKER = "https://pricing.us-east-1.amazonaws.com"
_CLOUD_RUN = "https://cloudbilling.googleapis.com"
_HOSTS = {
    "sagemaker": re.compile(r"pricing\.[a-z0-9-]+\.amazonaws\.com"),
    "cloudrun": re.compile(r"cloudbilling\.googleapis\.com"),
}
READABLE = {"cloudrun": "us-central1", "sagemaker": "us-east-1"}
"""The plugins whose official prices can be read, each with a region for an example."""
_ADDRESS = re.compile(r"[!-\[\]-~]{1,2000}")
"""Printable ASCII without spaces and backslashes, in which readers could differ."""
_REGION = re.compile(r"[a-z]{2,20}(-[a-z]{1,20}){1,3}-?\d{1,2}")
_SLICE = 1 << 16
_MOST_PAGES = 100
_CHANGED = 3
"""A price that moved by more than this factor is kept and named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What was read, and where it is kept."""

    file: Path
    count: int
    region: str
    source: str
    as_of: date
    left_out: tuple[str, ...] = ()
    """One line for each price that is not plausible and so was not kept."""
    changed: tuple[str, ...] = ()
    """One line for each price that is more than 3 times what it was, or less than a third."""


def refresh(
    plugin: str,
    folder: Path,
    *,
    region: str,
    deadline: Deadline,
    url: str | None = None,
    known: PriceBook | None = None,
    environ: Mapping[str, str] | None = None,
) -> Refreshed:
    """Read the prices of `plugin` in `region` and write them as one file of `folder`.

    The file is replaced as a whole or not at all; files that the user wrote are left alone, and
    win over it. `known` are the prices so far: what moved far from them is named.

    Raises:
        ConfigError: The region or the address is none that prices are read from.
        ProviderError: The provider gave no answer, or not its price file.
        StateError: The file cannot be written.
    """
    require_readable(plugin)
    if not _REGION.fullmatch(region):
        raise ConfigError(f"{region!r} is not a region: write it like us-east-1 or us-central1")
    address = _address(plugin, url, region)
    with Transport(max_reply_bytes=MAX_OFFER_BYTES) as transport:
        try:
            if plugin == "sagemaker":
                offer = _sagemaker(transport, address, region, deadline)
            else:
                offer = _cloud_run(transport, address, region, deadline, environ or {})
        except NotAnOffer as error:
            raise _unreadable(address, str(error)) from error
    if not offer.rates:
        raise _unreadable(address, f"it has no price for {region} that is understood")
    file = folder / f"{REFRESHED}{plugin}-{region}.toml"
    _write(file, _text(offer, address))
    return Refreshed(
        file=file,
        count=len(offer.rates),
        region=region,
        source=address,
        as_of=offer.as_of,
        left_out=offer.left_out,
        changed=tuple(_changes(offer.rates, known or PriceBook())),
    )


def require_readable(plugin: str) -> None:
    """Refuse a plugin whose prices stand in no official file that is understood.

    Raises:
        ConfigError: They cannot be read.
    """
    if plugin not in READABLE:
        able = " and ".join(sorted(READABLE))
        raise ConfigError(f"the prices of {plugin} cannot be read anew; those of {able} can")


def _address(plugin: str, url: str | None, region: str) -> str:
    """The address of the price file; `url` may leave out the path.

    Raises:
        ConfigError: It is neither the provider's own host over https nor this machine.
    """
    default = _SAGEMAKER if plugin == "sagemaker" else _CLOUD_RUN
    base = url or default
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("not an address that prices can be read from") from None
    official = parts.scheme == "https" and parts.port in {None, 443}
    official = official and _HOSTS[plugin].fullmatch(host) is not None
    local = parts.scheme in {"http", "https"} and _is_loopback(host)
    plain = _ADDRESS.fullmatch(base) and "@" not in parts.netloc
    if not (official or local) or not plain or parts.query or parts.fragment:
        raise ConfigError(
            f"prices of {plugin} are read from a host such as {default}, or from an address of "
            "this machine such as http://127.0.0.1:8000, and from nowhere else"
        )
    if parts.path.strip("/"):
        return base
    path = f"/offers/v1.0/aws/AmazonSageMaker/current/{region}/index.json"
    return base.rstrip("/") + (path if plugin == "sagemaker" else f"/v1/services/{CLOUD_RUN}/skus")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sagemaker(transport: Transport, address: str, region: str, deadline: Deadline) -> Offer:
    reply = _get(transport, address, {}, deadline)
    body = memoryview(reply.body)
    chunks = (bytes(body[at : at + _SLICE]) for at in range(0, len(body), _SLICE))
    return read_sagemaker(chunks, region=region, source=address)


def _cloud_run(
    transport: Transport,
    address: str,
    region: str,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> Offer:
    key = environ.get(API_KEY, "")
    if not key and not _is_loopback(urlsplit(address).hostname or ""):
        raise ConfigError(f"Google's price catalogue asks for an API key: set {API_KEY}")
    headers = {"x-goog-api-key": key} if key else {}  # in the address it would be logged
    rates: dict[object, Rate] = {}
    left_out: list[str] = []
    days: list[date] = []
    token = ""
    for _ in range(_MOST_PAGES):
        page_of = f"?pageSize=5000&currencyCode=USD&pageToken={quote(token, safe='')}"
        body = _get(transport, address + page_of, headers, deadline).body
        page = read_page(body, region=region, source=address)
        for rate in page.rates:
            known = rates.get(rate.key)
            if known is None or known.price.of(10**9) < rate.price.of(10**9):
                rates[rate.key] = rate
        left_out += page.left_out
        days += [page.as_of] if page.as_of else []
        token = page.next_page
        if not token:
            break
    else:
        raise NotAnOffer(f"more than {_MOST_PAGES} pages")
    as_of = max(days, default=date.min)
    ordered = sorted(rates.values(), key=lambda rate: rate.key)
    return Offer(rates=tuple(ordered), as_of=as_of, left_out=tuple(left_out))


def _get(
    transport: Transport, url: str, headers: Mapping[str, str], deadline: Deadline
) -> HttpReply:
    call = HttpCall("GET", url, {"accept": "application/json", **headers})
    try:
        reply = transport.send(call, deadline=deadline, effect=Effect.READ)
    except ProviderUnreachable as error:  # its hint is about endpoints
        error.hint = "the prices that you had are kept; --from URL reads a copy on this machine"
        raise
    if reply.status != 200:  # noqa: PLR2004 - nothing else carries the file
        raise NotAnOffer(f"it answered {reply.status}")
    return reply


def _unreadable(address: str, why: str) -> ProviderInternal:
    return ProviderInternal(
        f"{address} is not the price file that was expected: {why}; nothing was changed",
        provider=urlsplit(address).hostname or "",
        operation="prices refresh",
        retryable=False,
    )


def _changes(rates: Sequence[Rate], known: PriceBook) -> list[str]:
    changes = []
    for rate in rates:
        before = known.find(rate.meter, rate.attributes)
        if before is None:
            continue
        old, new = before.nano_usd * rate.price.per, rate.price.nano_usd * before.per
        if not old <= new * _CHANGED <= old * _CHANGED**2:
            name = " ".join(rate.attributes.values())
            changes.append(f"{rate.meter} {name}: {new / old:.3g} times what it was")
    return changes


def _text(offer: Offer, address: str) -> str:
    lines = [
        "# Written by `freelane prices refresh`, and replaced by the next one: prices of your own",
        f"# go into another file of this folder, and win. Read from {address}",
    ]
    for rate in offer.rates:
        pairs = (f"{name} = {_quoted(value)}" for name, value in sorted(rate.attributes.items()))
        price = rate.price
        lines += [
            "",
            "[[price]]",
            f"provider = {_quoted(rate.provider)}",
            f"meter = {_quoted(rate.meter)}",
            f"unit = {_quoted(rate.unit.value)}",
            f"attributes = {{ {', '.join(pairs)} }}",
            f'usd = "{_usd(price.nano_usd)}"',
            f"per = {price.per}",
            f"source = {_quoted(price.source)}",
            f"as_of = {price.as_of.isoformat()}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)  # TOML's basic strings take JSON's escapes


def _usd(nano_usd: int) -> str:
    whole, part = divmod(nano_usd, NANO)
    return f"{whole}.{part:09}".rstrip("0").rstrip(".")


def _write(file: Path, text: str) -> None:
    """Replace `file` as a whole.

    Raises:
        StateError: It cannot be written; what was there still is.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".refresh-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, file)  # noqa: PTH105 - both are names already
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - the same
            raise
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StateError(
            f"{file} cannot be written: {error.strerror}; the prices are as they were"
        ) from error
