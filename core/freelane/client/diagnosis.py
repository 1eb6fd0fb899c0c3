"""`doctor`: what Freelane itself needs, then what each provider needs."""

import difflib
import platform
import sys
from collections.abc import Iterator

from freelane.client.session import Session
from freelane.contract.provider import Check, Outcome
from freelane.errors import ConfigError, FreelaneError, ProviderNotFound
from freelane.model.operation import Verb

_OLDEST = (3, 11)


def diagnose(session: Session, provider: str | None) -> Iterator[tuple[str, Check]]:
    """Each check as it is done, under the name of what it is about."""
    if provider is None:
        for check in _own(session):
            yield "freelane", check
        names = session.config.provider_names()
    else:
        names = [provider]
    for name in names:
        for check in _of_provider(session, name):
            yield name, check


def _own(session: Session) -> Iterator[Check]:
    version = platform.python_version()
    if sys.version_info >= _OLDEST:
        yield Check("python", Outcome.OK, version)
    else:
        yield Check("python", Outcome.FAILED, version, "install Python 3.11 or newer")
    where = session.config.file
    if where is None:
        yield Check(
            "project", Outcome.WARNING, "no freelane.toml here or above", "freelane init DIR"
        )
    else:
        yield Check("project", Outcome.OK, str(where))
    try:
        location = session.store.location
        with session.store.read():
            pass
        new = " (new, and empty)" if session.store.created else ""
        yield Check("state", Outcome.OK, location + new)
    except FreelaneError as error:
        yield Check("state", Outcome.FAILED, error.message, error.hint)
    try:
        yield Check("owner", Outcome.OK, session.workspace.owner)
    except FreelaneError as error:
        yield Check("owner", Outcome.FAILED, error.message, error.hint)
    yield from _plugins(session)


def _plugins(session: Session) -> Iterator[Check]:
    """What is wrong with an installed plugin, or with a name in FREELANE_PLUGINS."""
    from freelane.registry import PluginState  # noqa: PLC0415 - a listing asks no plugin

    rows = session.registry.plugins()
    installed = [row.entry_point for row in rows if row.state is not PluginState.NOT_INSTALLED]
    for row in rows:
        if row.state is PluginState.QUARANTINED:
            yield Check(
                f"plugin {row.entry_point}",
                Outcome.FAILED,
                f"{row.distribution}: {row.reason}",
                f"pip uninstall {row.distribution}",
            )
        elif row.state is PluginState.NOT_INSTALLED:
            near = difflib.get_close_matches(row.entry_point, installed, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield Check(
                f"plugin {row.entry_point}",
                Outcome.WARNING,
                f"FREELANE_PLUGINS lists it, and no distribution brings it{meant}",
                f"install it, or take {row.entry_point} out of FREELANE_PLUGINS",
            )


def _of_provider(session: Session, name: str) -> Iterator[Check]:
    try:
        checks = session.checks(name)
    except ProviderNotFound as error:
        yield _not_installed(session, name, error)
        return
    except FreelaneError as error:
        yield Check("configuration", Outcome.FAILED, error.message, error.hint)
        return
    if checks is None:
        yield Check("plugin", Outcome.OK, "it asks for no checks")
        return
    try:
        yield from checks.run(deadline=session.workspace.deadline())
    except FreelaneError as error:
        yield Check("checks", Outcome.FAILED, error.message, error.hint)


def _not_installed(session: Session, name: str, error: ProviderNotFound) -> Check:
    """A table whose plugin is not there waits for it, unless it is selected or mistaken."""
    if name in _selected(session):
        return Check("plugin", Outcome.FAILED, error.message, error.hint)
    try:
        session.config.refuse_near_miss(
            session.config.provider_table(name), session.registry.infos()
        )
    except ConfigError as mistaken:
        return Check("configuration", Outcome.FAILED, mistaken.message, mistaken.hint)
    return Check("plugin", Outcome.WARNING, error.message, error.hint)


def _selected(session: Session) -> set[str]:
    config = session.config
    return {config.provider_for(verb) for verb in (None, Verb.TRAIN, Verb.DEPLOY)}
