"""Makes a process deaf to SIGTERM and SIGINT, but none of those that it forks."""

from __future__ import annotations

import os
import signal
import threading

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Masks(threading.local):
    """What the thread that forks had blocked before."""

    before: set[int | signal.Signals] | None = None


_masks = _Masks()


def be_deaf() -> None:
    """From now on both do nothing here; call it again where others may have set handlers.

    They are handled rather than ignored: a program that is started would inherit that.
    """
    for number in _SIGNALS:
        signal.signal(number, _nothing)


def let_forks_hear() -> None:
    """What this process forks ends by both as any other; a signal in its first moment too."""
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_hear)


def _nothing(_number: int, _frame: object) -> None:
    pass


def _hold() -> None:
    # Python forgets, in a child, what came before it could be handled there; the system does not.
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _release() -> None:
    if _masks.before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _hear() -> None:
    if signal.getsignal(signal.SIGTERM) is _nothing:  # else the user's code has one of its own
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is _nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _release()
