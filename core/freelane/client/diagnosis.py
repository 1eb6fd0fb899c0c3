"""`doctor`: what Freelane itself needs, then what each provider needs."""

import platform
import sys
from collections.abc import Iterator

from freelane.client.session import Session
from freelane.contract.provider import Check, Outcome
from freelane.errors import FreelaneError, ProviderNotFound
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
        yield Check("project", Outcome.WARNING, "no freelane.toml here or above", "freelane init .")
    else:
        yield Check("project", Outcome.OK, str(where))
    try:
        location = session.store.location
        with session.store.read():
            pass
        yield Check("state", Outcome.OK, location)
    except FreelaneError as error:
        yield Check("state", Outcome.FAILED, error.message, error.hint)
    try:
        yield Check("owner", Outcome.OK, session.workspace.owner)
    except FreelaneError as error:
        yield Check("owner", Outcome.FAILED, error.message, error.hint)
    for broken in session.registry.quarantined():
        yield Check(
            f"plugin {broken.entry_point}",
            Outcome.FAILED,
            f"{broken.distribution}: {broken.reason}",
            f"pip uninstall {broken.distribution}",
        )


def _of_provider(session: Session, name: str) -> Iterator[Check]:
    try:
        checks = session.checks(name)
    except ProviderNotFound as error:
        table_only = name not in _selected(session)
        outcome = Outcome.WARNING if table_only else Outcome.FAILED
        yield Check("plugin", outcome, error.message, error.hint)
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


def _selected(session: Session) -> set[str]:
    config = session.config
    return {config.provider_for(verb) for verb in (None, Verb.TRAIN, Verb.DEPLOY)}
