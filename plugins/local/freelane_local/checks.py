"""What `doctor` asks this machine."""

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from freelane.contract.provider import Check, Outcome, ProviderContext
from freelane.errors import StateError
from freelane.waiting import Deadline
from freelane_local import frameworks, gpu, records
from freelane_local.config import LocalConfig

_SHOWN = ("sklearn", "torch", "tensorflow", "xgboost", "lightgbm")


def checks(config: LocalConfig, context: ProviderContext) -> "LocalChecks":
    """The checks of one configured local provider."""
    folder = (config.folder.expanduser() if config.folder else context.folder).absolute()
    return LocalChecks(folder, config, context)


@dataclass(frozen=True, slots=True)
class LocalChecks:
    """The port."""

    folder: Path
    config: LocalConfig
    context: ProviderContext

    def run(self, *, deadline: Deadline) -> Iterator[Check]:
        steps: tuple[Callable[[], Check], ...] = (
            self._python,
            self._writable,
            self._disk,
            self._card,
            self._frameworks,
            self._sqlite,
        )
        for step in steps:
            deadline.check("checking this machine")
            yield step()
        if self.config.engines:
            # The transport costs more to load than all the rest.
            from freelane_local.engine_checks import engine_checks  # noqa: PLC0415

            context = self.context
            yield from engine_checks(
                self.config.engines, context.environ, context.clock, provider=context.name
            )

    def _python(self) -> Check:
        return Check("python", Outcome.OK, f"{platform.python_version()} at {sys.executable}")

    def _writable(self) -> Check:
        try:
            records.make_folder(self.folder)
            probe = self.folder / f".probe-{os.getpid()}"
            records.write_bytes(probe, b"")
            probe.unlink()
        except StateError as error:
            return Check("folder", Outcome.FAILED, error.message, "set folder in [providers.local]")
        return Check("folder", Outcome.OK, f"{self.folder} can be written")

    def _disk(self) -> Check:
        there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        text = f"{free / 2**30:,.1f} GiB free at {self.folder}"
        if free < self.config.min_free_disk:
            needed = f"min_free_disk asks for {self.config.min_free_disk / 2**20:,.0f} MiB"
            remedy = "free some space, or set folder in [providers.local]"
            return Check("disk", Outcome.FAILED, f"{text}; {needed}", remedy)
        return Check("disk", Outcome.OK, text)

    def _card(self) -> Check:
        machine = gpu.look(self.context.environ)
        if machine.problem:
            text = f"{machine.problem}: jobs run on the CPU"
            is_mere_cpu = "no NVIDIA driver" in machine.problem
            return Check("gpu", Outcome.OK if is_mere_cpu else Outcome.WARNING, text)
        cuda = ".".join(map(str, machine.cuda or ()))
        names = ", ".join(card.name for card in machine.cards)
        return Check("gpu", Outcome.OK, f"{names}; driver {machine.driver}, CUDA {cuda}")

    def _frameworks(self) -> Check:
        found = {name: frameworks.installed_version(name) for name in _SHOWN}
        text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        if not text:
            return Check(
                "frameworks",
                Outcome.WARNING,
                "no framework is installed in this Python",
                'pip install scikit-learn, or set python = "venv" in [providers.local.train]',
            )
        return Check("frameworks", Outcome.OK, text)

    def _sqlite(self) -> Check:
        return Check("sqlite", Outcome.OK, sqlite3.sqlite_version)
