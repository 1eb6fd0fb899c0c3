"""Reading what the user's code wrote, which need not be a file at all."""

import errno
import os
import stat
from pathlib import Path


def read_plain(path: Path, most_bytes: int) -> bytes:
    """The beginning of a file of the user's; a pipe or a device there would keep us for ever.

    Raises:
        OSError: It is not there, or no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(most_bytes)
