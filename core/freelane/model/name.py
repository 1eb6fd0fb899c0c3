"""What a thing may be called, and what Freelane calls it at the provider."""

import re

from freelane.errors import ConfigError

LONGEST_NAME = 40
LONGEST_RESOURCE_NAME = 63  # the shortest limit among the providers' name rules
_NAME = re.compile(r"[a-z0-9](-?[a-z0-9])*")
_BEGINNING = re.compile(r"[a-z0-9][a-z0-9-]*")


def check_name(name: str, *, what: str) -> str:
    """Return `name` if it may name a project, a provider, a job or an endpoint.

    Raises:
        ConfigError: It has other characters than a-z, 0-9 and single inner hyphens, or is too long.
    """
    if len(name) <= LONGEST_NAME and _NAME.fullmatch(name):
        return name
    shown = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "..."
    raise ConfigError(
        f"{what} {shown!r} is not a name: use a-z, 0-9 and single hyphens between them, "
        f"at most {LONGEST_NAME} characters"
    )


def is_beginning(text: str) -> bool:
    """Whether an id can begin so; nothing at all begins every id, and is what nobody means.

    `freelane stop "$JOB"` with an unset variable must not stop the only job there is.
    """
    return _BEGINNING.fullmatch(text) is not None


def resource_name(project: str, name: str, operation_id: str) -> str:
    """The name at the provider: `fl-<project>-<name>-<hash8>`, at most 63 characters.

    It depends on nothing but its arguments, so a rerun asks for the very same thing. Where both
    names are long each gives way by the same measure.
    """
    hash8 = operation_id[:8]
    room = LONGEST_RESOURCE_NAME - len(f"fl---{hash8}")
    if len(project) + len(name) > room:
        for_name = max(room // 2, room - len(project))
        name = name[:for_name].rstrip("-")
        project = project[: room - len(name)].rstrip("-")
    return f"fl-{project}-{name}-{hash8}"


def parse_address(address: str) -> tuple[str | None, str]:
    """Split `provider/name`; a bare name has no provider.

    Raises:
        ConfigError: A part is not a name.
    """
    provider, slash, name = address.rpartition("/")
    if slash:
        return check_name(provider, what="provider"), check_name(name, what="endpoint")
    return None, check_name(name, what="endpoint")
