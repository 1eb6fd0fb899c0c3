"""The cards of this machine: which there are, and which job holds which.

A card is held by a lock on a file, so a holder that dies lets go. Jobs that wait stand in a queue
of tickets; only an earlier ticket that wants one of the same cards goes first.
"""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from freelane.errors import InvalidRequest
from freelane.model.resources import Accelerator
from freelane_local import records

_TORCH_CUDA = re.compile(r"^cuda\b[^=]*=\s*(None|['\"](?P<version>[\d.]+)['\"])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Card:
    """One card, as the driver names it."""

    index: int
    uuid: str
    name: str
    """Such as `Tesla T4` or `NVIDIA A100-SXM4-40GB`."""

    def is_kind(self, kind: str) -> bool:
        """Whether every word of `kind` is one of its name: `T4`, `A100`, `A100-80GB`, `RTX4090`."""
        words = _words(self.name)
        pairs = {one + two for one, two in pairwise(words)}
        return {*_words(kind)} <= {*words, *pairs}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@dataclass(frozen=True, slots=True)
class Machine:
    """What NVML tells, once."""

    cards: tuple[Card, ...] = ()
    cuda: tuple[int, int] | None = None
    """The newest CUDA version that the driver runs."""
    driver: str = ""
    problem: str = ""
    """Why there is no card to be used; empty where there is one."""


def look(environ: Mapping[str, str]) -> Machine:
    """Ask the driver for its cards; CUDA_VISIBLE_DEVICES hides some, as it does from CUDA."""
    import pynvml  # noqa: PLC0415 - only who asks for a card pays for it

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Machine(problem=_problem(error))
    try:
        major, minor = divmod(pynvml.nvmlSystemGetCudaDriverVersion(), 1000)
        cards = [_card(index) for index in range(pynvml.nvmlDeviceGetCount())]
        visible = _visible(cards, environ.get("CUDA_VISIBLE_DEVICES"))
        problem = ""
        if not cards:
            problem = "the NVIDIA driver shows no card"
        elif not visible:
            problem = "CUDA_VISIBLE_DEVICES hides every card"
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        return Machine(tuple(visible), (major, minor // 10), driver, problem)
    except pynvml.NVMLError as error:
        return Machine(problem=_problem(error))
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _card(index: int) -> Card:
    import pynvml  # noqa: PLC0415 - only who asks for a card pays for it

    card = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Card(index, _text(pynvml.nvmlDeviceGetUUID(card)), _text(pynvml.nvmlDeviceGetName(card)))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _problem(error: Exception) -> str:
    import pynvml  # noqa: PLC0415 - only who asks for a card pays for it

    code = getattr(error, "value", None)
    if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "no NVIDIA driver is installed"
    if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "the NVIDIA driver is not loaded"
    if code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
        return "the NVIDIA driver is too old; update it"
    if code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "the NVIDIA driver was updated and is not loaded yet; restart the machine"
    return f"the NVIDIA driver answers: {error}"


def _visible(cards: Sequence[Card], text: str | None) -> list[Card]:
    if text is None:
        return list(cards)
    found: list[Card] = []
    for entry in (part.strip() for part in text.split(",")):
        card = next(
            (
                c
                for c in cards
                if str(c.index) == entry or (entry and c.uuid.startswith(entry) and "-" in entry)
            ),
            None,
        )
        if card is None:
            break  # CUDA itself stops reading at the first entry that is no device
        if card not in found:
            found.append(card)
    return found


@dataclass(frozen=True, slots=True)
class Want:
    """What a job asks of the cards, resolved."""

    count: int = 0
    uuids: tuple[str, ...] = ()
    """Any of these will do."""
    note: str = ""
    """What the user is told once; empty where there is nothing to tell."""

    def __str__(self) -> str:
        return f"{self.count} GPU" if self.count == 1 else f"{self.count} GPUs"


def choose(
    accelerator: Accelerator,
    environ: Mapping[str, str],
    *,
    provider: str,
    torch_folder: Path | None = None,
) -> Want:
    """Which cards would do; `auto` falls back to the CPU, anything named or counted never does.

    `torch_folder` is the installed torch that the script will import, if it will.

    Raises:
        InvalidRequest: There is no such card, the driver is too old, or torch is for the CPU only.
    """
    if not accelerator.auto and not accelerator.count:
        return Want()
    machine = look(environ)
    fitting = [c for c in machine.cards if accelerator.kind is None or c.is_kind(accelerator.kind)]
    problem = machine.problem
    count = accelerator.count or 1
    if not problem and len(fitting) < count:
        problem = _too_few(accelerator, machine, len(fitting))
    if not problem and torch_folder is not None:
        problem = _torch_problem(torch_folder, machine)
    if not problem:
        return Want(count, tuple(card.uuid for card in fitting))
    if accelerator.auto:
        return Want(note=f'accelerator = "auto" runs on the CPU: {problem}')
    raise InvalidRequest(
        f'accelerator = "{accelerator}" cannot be had: {problem}; '
        'ask for "auto" to fall back to the CPU, or train on another provider',
        provider=provider,
        operation="choose a card",
    )


def _too_few(accelerator: Accelerator, machine: Machine, fitting: int) -> str:
    there = ", ".join(card.name for card in machine.cards)
    if accelerator.kind is None:
        return f"this machine has {fitting} ({there})"
    if not fitting:
        return f"no card here is a {accelerator.kind} ({there})"
    return f"only {fitting} of the cards here is a {accelerator.kind} ({there})"


def torch_folder() -> Path | None:
    """Where this interpreter's torch lies, without importing it; None if there is none."""
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _torch_problem(folder: Path, machine: Machine) -> str:
    try:
        match = _TORCH_CUDA.search((folder / "version.py").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""  # a build of somebody's own: it may well do
    if match is None:
        return ""
    if match["version"] is None:
        return f"the installed torch ({folder.parent}) is a build for the CPU only"
    needed = int(match["version"].split(".")[0])
    if machine.cuda is not None and machine.cuda[0] < needed:
        newest = ".".join(map(str, machine.cuda))
        return (
            f"the NVIDIA driver {machine.driver} is too old: it runs CUDA {newest} and the "
            f"installed torch needs {match['version']}"
        )
    return ""


class Slots:
    """A place in the queue, then the cards; `close` gives up either."""

    def __init__(self, folder: Path, want: Want) -> None:
        """Take the last place in the queue; `folder` is the same for all jobs of the machine."""
        self._folder = folder
        self._want = want
        self._held: dict[str, int] = {}
        records.make_folder(folder / "queue")
        name = f"{time.time_ns():020d}-{os.getpid()}"
        hidden = folder / "queue" / f".{name}-{secrets.token_hex(4)}"
        descriptor = records.try_lock(hidden)
        if descriptor is None:
            raise RuntimeError(f"{hidden} is locked by another process")
        self._ticket: int | None = descriptor
        with records.storage(hidden):
            os.write(descriptor, " ".join(want.uuids).encode())
            self._path = folder / "queue" / name
            hidden.rename(self._path)

    def take(self) -> list[str] | None:
        """The cards' UUIDs if it is our turn and they are free; None to ask again later."""
        if any(self._rivals()):
            return None
        for uuid in self._want.uuids:
            if len(self._held) == self._want.count:
                break
            descriptor = records.try_lock(self._folder / f"{_file_name(uuid)}.lock")
            if descriptor is not None:
                self._held[uuid] = descriptor
        if len(self._held) < self._want.count:
            self._let_go()
            return None
        self._leave_queue()
        return list(self._held)

    def close(self) -> None:
        """Let go of everything."""
        self._leave_queue()
        self._let_go()

    def _rivals(self) -> Iterator[Path]:
        """Living tickets before ours that want one of the same cards."""
        for ticket in sorted(self._path.parent.glob("[0-9]*")):
            if ticket.name >= self._path.name:
                return
            try:
                descriptor = os.open(ticket, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ticket.unlink(missing_ok=True)  # its owner died
            except BlockingIOError:
                wanted = os.read(descriptor, 65_536).decode().split()
                if set(wanted) & set(self._want.uuids):
                    yield ticket
            finally:
                os.close(descriptor)

    def _leave_queue(self) -> None:
        if self._ticket is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._ticket)
            self._ticket = None

    def _let_go(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


def _file_name(uuid: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", uuid)


def script_imports_torch(script: Path) -> bool:
    """Whether the script itself names torch; what it imports in turn is not looked at."""
    try:
        text = script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^\s*(import|from)\s+torch\b", text, re.MULTILINE) is not None
