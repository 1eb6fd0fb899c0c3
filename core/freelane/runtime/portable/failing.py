"""What a request came to whose model, or the user's code around it, raised."""

from __future__ import annotations

import contextlib
import gc
import re
import sys
import traceback

from .problems import ModelError, OutOfMemory, Problem, UnsupportedType

LONGEST_TEXT = 500
_PATH = re.compile(r"""(['"])~?/[^'"]*\1|(?<![\w.])/(?:[\w.@+-]+/)+[\w.@+-]*""")
_CUDA = ("CUDA out of memory", "CUDA error: out of memory", "CUDNN_STATUS_ALLOC_FAILED")


def problem_of(error: BaseException, request_id: str | None = None) -> Problem:
    """The answer to whatever a request came to; the traceback goes to the log alone."""
    if isinstance(error, Problem):
        if error.status >= 500:  # noqa: PLR2004 - the server's side of the statuses
            log(error, request_id)
        return error
    log(error, request_id)
    if is_out_of_memory(error):
        return OutOfMemory("the model ran out of memory")
    text = _PATH.sub("<path>", " ".join(str(error).split()))[:LONGEST_TEXT]
    found = ModelError(f"the model raised {type(error).__name__}" + (f": {text}" if text else ""))
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500:  # noqa: PLR2004 - a framework's HTTP error
        found.status, found.message = (
            status,
            _PATH.sub("<path>", str(getattr(error, "detail", text))),
        )
    elif type(error).__name__ == "UnsupportedFormatError":  # the SageMaker toolkits'
        return UnsupportedType(text)
    return found


def log(error: BaseException, request_id: str | None = None) -> None:
    """Tell whoever reads the endpoint's log all of it."""
    # The user's code may have closed or replaced stderr: the caller is answered all the same.
    with contextlib.suppress(Exception):
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        which = "a request" if request_id is None else f"request {request_id}"
        sys.stderr.write(f"freelane: {which} failed\n{''.join(lines)}")
        sys.stderr.flush()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at a time might have gone well: the machine's memory, or a card's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    with contextlib.suppress(Exception):
        return any(words in str(error) for words in _CUDA)
    return False


def free_memory() -> None:
    """Let go of what the failed call left: call it where its error is no longer held."""
    gc.collect()
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
