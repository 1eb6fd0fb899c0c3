"""Who the resources belong to: an id in the user's own file, outside the database.

With the database lost, the id still tells which resources of a provider are ours.
"""

import secrets
from pathlib import Path

from freelane.config.document import read
from freelane.config.edit import locked, set_value_locked
from freelane.config.layers import Source
from freelane.config.origins import Layer
from freelane.errors import ConfigError
from freelane.model.name import check_name

_KEY = "owner"


def owner_id(user_file: Path) -> str:
    """The `owner` of `user_file`: made once, 16 hex characters, and kept.

    Two processes that ask at once get the same id. A new file is readable by this user alone.

    Raises:
        ConfigError: The file is not TOML, or its `owner` is not a name.
        StateError: There is no id yet and the file cannot be written.
    """
    found = _read(user_file)
    if found is not None:
        return found
    with locked(user_file):
        found = _read(user_file)  # another process may have been first
        if found is None:
            found = secrets.token_hex(8)
            set_value_locked(user_file, _KEY, found)
        return found


def _read(user_file: Path) -> str | None:
    document = read(user_file)
    if document is None or _KEY not in document.values:
        return None
    owner = document.values[_KEY]
    origin = Source(Layer.USER, document.values, document).origin((_KEY,))
    if not isinstance(owner, str):
        raise ConfigError(f"{origin}: owner should be a text")
    try:
        return check_name(owner, what="owner")
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error.message}") from error
