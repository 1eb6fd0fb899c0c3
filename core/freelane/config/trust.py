"""What a project file may not decide: where secrets go, and how much may be spent.

A project is often cloned from somebody else, so its file is read as a stranger's. What it may not
say counts from the user file, the environment and flags only.
"""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from freelane.config.account import ACCOUNT, FACTS, RATE, account_tables
from freelane.config.layers import Merged, Source, leaves, variable_of
from freelane.config.origins import KeyPath, dotted, show_file
from freelane.config.redact import redacted
from freelane.errors import ConfigError
from freelane.model.budget import Budget
from freelane.model.endpoint import RateLimits
from freelane.model.spending import Credits, Exhausted, Policy

_URL = re.compile(r"(?<![A-Za-z0-9+.-])(?=([A-Za-z][A-Za-z0-9+.-]*:[\\/]{2}\S*))|^[\\/]{2}")
_ODD = re.compile(r"[\s\\\x00-\x1f\x7f]")
_STORES = ("s3://", "gs://", "file:///")  # names of data, not of a server that gets our requests
_ADDRESS_KEY = re.compile(r"(?:^|_)(?:url|uri|endpoint|host|hostname|proxy|address)$")
_SECRET_KEY = re.compile(r"(?:^|_)(?:env|secrets?|file|command|credentials|profile)$")

_ORDERS: dict[str, list[str]] = {
    "policy": list(Policy),
    "credits": list(Credits),
    "exhausted": list(Exhausted),
}
"""Each word of `[guard]`, strictest first."""


def check_project(project: Source, merged: Merged, *, user_file: Path) -> None:
    """Refuse what a project file may not set.

    Raises:
        ConfigError: It does; names the line, and where the key counts.
    """
    for key in ("database_url", "owner"):
        if key in project.values:
            raise _refused(project, (key,), f"{key} does not count in a project file", user_file)
    tables = project.values.get("providers")
    tables = tables if isinstance(tables, dict) else {}
    for name, table in tables.items():
        if isinstance(table, dict):
            _check_table(project, name, table, merged, user_file)


def _check_table(
    project: Source, name: str, table: dict[str, object], merged: Merged, user_file: Path
) -> None:
    values = list(leaves(table, ("providers", name)))
    for path, value in values:
        if _points_away(path, value):
            why = f"{dotted(path)} points away from this machine"
            raise _refused(project, path, why, user_file)
    # The address may be the user's own: even there a stranger may not choose what is sent.
    if not _has_address(merged, name):
        return
    for path, _ in values:
        if _SECRET_KEY.search(str(path[-1]).lower()):
            why = f"{dotted(path)} names a secret that would travel to the address of {name}"
            raise _refused(project, path, why, user_file)


def check_ceiling(project: Source, user: Source) -> None:
    """Hold a project's `[guard]` under the user file's; the values of both are known to be valid.

    Raises:
        ConfigError: The project asks for more than the user's file allows.
    """
    caps, asked = user.values.get("guard"), project.values.get("guard")
    if not isinstance(caps, dict) or not isinstance(asked, dict):
        return
    if "policy" not in caps and "budget" in caps:
        caps = {**caps, "policy": Policy.BUDGET}  # a sum alone is a cap too: no policy passes it
    for key, order in _ORDERS.items():
        if key in caps and key in asked and order.index(asked[key]) > order.index(caps[key]):
            raise _raised(project, user, key)
    if "budget" in caps and "budget" in asked:
        cap, wanted = Budget.parse(caps["budget"]), Budget.parse(asked["budget"])
        if not wanted.within(cap):
            raise _raised(project, user, "budget")


def check_accounts(project: Source, user: Source) -> None:
    """Hold what a project says of an account against the user's file: whose word it is.

    Raises:
        ConfigError: The two say different things, or the project lets a provider be asked more.
    """
    known = account_tables(user.values, user.origin)
    for name, asked in account_tables(project.values, project.origin).items():
        plugin = _plugin(project, name)
        # Under another name it is still the user's account that a plugin's requests go to.
        peers = [name] if name in known else [n for n in known if _plugin(user, n) == plugin]
        if ACCOUNT in asked.model_fields_set:
            peers = [n for n in peers if known[n].account == asked.account] or peers
        for fact in FACTS:
            if fact in asked.model_fields_set and peers:
                saying = [n for n in peers if fact in known[n].model_fields_set]
                agreed = any(getattr(known[n], fact) == getattr(asked, fact) for n in saying)
                if saying and not agreed:
                    paths = ("providers", name, fact), ("providers", saying[0], fact)
                    raise _contradicted(project, user, *paths, "a project cannot say otherwise")
                if fact == ACCOUNT and not saying:
                    raise _own_account(project, user, ("providers", name, fact), peers[0])
        if name in known:
            _check_rate(project, user, name, asked.rate, known[name].rate)


def _check_rate(
    project: Source, user: Source, name: str, asked: RateLimits, most: RateLimits
) -> None:
    for window in ("per_minute", "per_hour", "per_day", "per_month"):
        ceiling, wanted = getattr(most, window), getattr(asked, window)
        if ceiling is not None and wanted is not None and wanted > ceiling:
            path = ("providers", name, RATE, window)
            raise _contradicted(project, user, path, path, "a project cannot raise it")


def _plugin(source: Source, name: str) -> object:
    tables = source.values.get("providers")
    table = tables.get(name) if isinstance(tables, dict) else None
    return table.get("plugin", name) if isinstance(table, dict) else name


def _own_account(project: Source, user: Source, path: KeyPath, peer: str) -> ConfigError:
    return ConfigError(
        f"{project.origin(path)}: {dotted(path)} names an account, and its counters would begin "
        f"at nothing, but {user.origin(('providers', peer))} names none; put it there too"
    )


def _contradicted(
    project: Source, user: Source, path: KeyPath, of_user: KeyPath, why: str
) -> ConfigError:
    said, known = _written(project, path), _written(user, of_user)
    return ConfigError(
        f"{project.origin(path)}: {dotted(path)} = {said}, but {user.origin(of_user)} "
        f"says {known}, and {why}; change one of the two"
    )


def _written(source: Source, path: KeyPath) -> str:
    value = redacted(str(path[-1]), dict(leaves(source.values))[path])
    return repr(value)


def _raised(project: Source, user: Source, key: str) -> ConfigError:
    path = ("guard", key)
    asked = dict(leaves(project.values))[path]
    caps = dict(leaves(user.values))
    cap = f"{key} = {caps[path]!r}" if path in caps else f"budget = {caps['guard', 'budget']!r}"
    ceiling = user.origin(path if path in caps else ("guard", "budget"))
    return ConfigError(
        f"{project.origin(path)}: [guard] {key} = {asked!r} passes the ceiling {cap} of "
        f"{ceiling}, which a project cannot raise; lower it here, or raise it there"
    )


def _has_address(merged: Merged, name: str) -> bool:
    tables = merged.values.get("providers")
    table = tables.get(name) if isinstance(tables, dict) else None
    if not isinstance(table, dict):
        return False
    return any(_points_away(path, value) for path, value in leaves(table, (name,)))


def _points_away(path: KeyPath, value: object) -> bool:
    """Whether any text in `value` is the address of a machine other than this one."""
    return any(_is_remote(str(path[-1]).lower(), text) for text in _texts(value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_remote(key: str, text: str) -> bool:
    urls = [match[1] or f"scheme:{text}" for match in _URL.finditer(text)]
    if not urls:
        return bool(text and _ADDRESS_KEY.search(key)) and not _is_loopback(f"//{text}")
    if _ODD.search(text):  # readers differ in which host they see then
        return True
    return any(not u.lower().startswith(_STORES) and not _is_loopback(u) for u in urls)


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where what follows the host is no port
        host = parts.hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(project: Source, path: KeyPath, why: str, user_file: Path) -> ConfigError:
    return ConfigError(
        f"{project.origin(path)}: {why}, and a project file may be somebody else's; "
        f"put it in {show_file(user_file)} or in {variable_of(path)}"
    )
