"""How a worker's process is started."""

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from freelane.runtime.server.order import Order

_BUFFER_BYTES = 4 * 2**20  # asked for; the system gives what it allows
_NOT_FOR_USERS = ("FREELANE_SERVE_", "FREELANE_DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Launch:
    """The command of the workers of one endpoint; their channel's number is appended."""

    argv: tuple[str, ...]
    folder: str
    env: Mapping[str, str]
    cards: tuple[str, ...] = ()
    places: int = 1
    """How many workers there are at most: each has its share of the cards."""

    @classmethod
    def of(cls, order: Order) -> "Launch":
        """The workers that an order asks for."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_FOR_USERS)}
        env["FREELANE_MODEL_DIR"] = order.model
        if order.manifest is not None:
            env["FREELANE_MANIFEST"] = order.manifest
        if order.digest is not None:
            env["FREELANE_MODEL_DIGEST"] = order.digest
        return cls(
            argv=(order.python, "bootstrap.py", "work", "--channel"),
            folder=order.bundle,
            env=env,
            cards=order.cards,
            places=order.workers_max,
        )

    def start(self, place: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start one, in a process group of its own; answers it and our end of its channel.

        Raises:
            OSError: It cannot be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            ours.settimeout(0)
            channel = theirs.fileno()
            # No preexec_fn: only without it the server, which is large, need not be forked.
            process = subprocess.Popen(  # noqa: S603 - argv is ours
                (*self.argv, str(channel)),
                cwd=self.folder,
                env={**self.env, **self._cards_of(place)},
                stdin=subprocess.DEVNULL,
                pass_fds=(channel,),
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, ours

    def _cards_of(self, place: int) -> Mapping[str, str]:
        if not self.cards:
            return {}
        own = self.cards[place :: self.places] if len(self.cards) >= self.places else self.cards
        return {"CUDA_VISIBLE_DEVICES": ",".join(own)}
