"""A job's log: bytes in a few files, the oldest of which gives way.

Each file is named by the offset of its first byte since the log began, so a cursor is one number
that stays right when older files are gone.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

SEGMENT_BYTES = 10 * 2**20
SEGMENTS = 10
PAGE_LINES = 1000
_PAGE_BYTES = 2**20
_LONGEST_LINE_BYTES = 64 * 2**10
_SHORTEST_SECRET = 4  # a shorter value would blank ordinary words
HIDDEN = b"***"


class Mask:
    """Hides the values of secrets in what is printed, one that comes in two pieces too."""

    def __init__(self, values: Iterable[str]) -> None:
        long = {value.encode("utf-8", "surrogateescape") for value in values}
        self._values = sorted((v for v in long if len(v) >= _SHORTEST_SECRET), key=len)[::-1]
        self._any = re.compile(b"|".join(map(re.escape, self._values)))  # the longest first
        self._held = b""

    def __call__(self, chunk: bytes) -> bytes:
        """What can be shown by now; what may yet become a secret is held back."""
        if not self._values:
            return chunk
        text = self._held + chunk
        cut = len(text) - max(_overlap(text, value) for value in self._values)
        for match in self._any.finditer(text):
            if match.start() < cut < match.end():  # a short one, where a longer may go on
                cut = match.start()
        self._held = text[cut:]
        return self.hide(text[:cut])

    def rest(self) -> bytes:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, b""
        return self.hide(held)

    def hide(self, text: bytes) -> bytes:
        """A whole text without them."""
        return self._any.sub(HIDDEN, text) if self._values else text


def _overlap(text: bytes, value: bytes) -> int:
    """How much of the beginning of `value` stands at the end of `text`."""
    longest = min(len(text), len(value) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(value[:n])), 0)


class LogWriter:
    """Appends; a full disk costs output, never the job."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, segments: int = SEGMENTS
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments = segments
        self._offset = _end(folder)  # a writer that was killed may have begun it
        self._file: BinaryIO | None = None
        self._room = 0
        self.lost_bytes = 0
        """What could not be written."""

    def write(self, chunk: bytes) -> None:
        """Append, beginning a new file at a line's end where one is full."""
        while chunk:
            if self._file is None or self._room <= 0:
                self._next_segment()
            part = chunk
            if len(chunk) > self._room:
                cut = chunk.rfind(b"\n", 0, self._room) + 1
                part = chunk[: cut or min(len(chunk), self._room + _LONGEST_LINE_BYTES)]
                self._room = len(part)
            self._append(part)
            chunk = chunk[len(part) :]

    def say(self, line: str) -> None:
        """Append a line of Freelane's own."""
        self.write(f"freelane: {line}\n".encode())

    def close(self) -> None:
        """Finish; what is written stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, part: bytes) -> None:
        self._room -= len(part)
        if self._file is None:
            self.lost_bytes += len(part)
            return
        try:
            self._file.write(part)  # unbuffered: what is printed can be followed at once
        except OSError:
            self.lost_bytes += len(part)
            # Some of it may be there: the names of later files must tell true offsets.
            self._offset = self._file.tell() + int(Path(self._file.name).stem)
        else:
            self._offset += len(part)

    def _next_segment(self) -> None:
        self.close()
        self._room = self._segment_bytes
        try:
            self._folder.mkdir(exist_ok=True)
            self._file = (self._folder / f"{self._offset:020d}.log").open("ab", buffering=0)
            for old in _segments(self._folder)[: -self._segments]:
                old.unlink(missing_ok=True)
        except OSError:
            self._file = None


class SharedLog:
    """A log that several threads append to."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._lock = threading.Lock()

    def write(self, chunk: bytes) -> None:
        """Append."""
        with self._lock:
            self._writer.write(chunk)

    def say(self, line: str) -> None:
        """Append a line of Freelane's own."""
        with self._lock:
            self._writer.say(line)

    def close(self) -> None:
        """Finish; what is written stays."""
        with self._lock:
            self._writer.close()


def read(folder: Path, *, after: int, final: bool) -> tuple[list[str], int, bool]:
    """Up to 1,000 whole lines that follow the offset `after`, the next offset, whether it is all.

    A last line without an end is kept back until the job is final, or it has grown very long.
    """
    lines: list[str] = []
    oldest = _oldest(folder)
    if after < oldest:
        lines.append(f"freelane: {oldest - after:,} bytes of older output were dropped here")
        after = oldest
    content = b"".join(_bytes_from(folder, after))
    is_last = len(content) < _PAGE_BYTES
    position = 0
    while position < len(content) and len(lines) < PAGE_LINES:
        end = content.find(b"\n", position)
        if end < 0:
            rest = len(content) - position
            if not (final and is_last) and rest < _LONGEST_LINE_BYTES:
                break
            end = min(len(content), position + _LONGEST_LINE_BYTES)
            lines.append(text_of(content[position:end]))
            position = end
        else:
            lines.append(text_of(content[position:end]))
            position = end + 1
    return lines, after + position, final and is_last and position == len(content)


def _bytes_from(folder: Path, offset: int) -> Iterator[bytes]:
    room = _PAGE_BYTES
    for segment in _segments(folder):
        start = int(segment.stem)
        try:
            with segment.open("rb") as file:
                size = file.seek(0, 2)
                if start + size <= offset:
                    continue
                if start > offset:  # a file in between has just given way
                    return
                file.seek(offset - start)
                part = file.read(room)
        except FileNotFoundError:
            return
        yield part
        room -= len(part)
        offset += len(part)
        if room <= 0:
            return


def _oldest(folder: Path) -> int:
    segments = _segments(folder)
    return int(segments[0].stem) if segments else 0


def _end(folder: Path) -> int:
    segments = _segments(folder)
    return int(segments[-1].stem) + segments[-1].stat().st_size if segments else 0


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def text_of(line: bytes) -> str:
    """A line as it would stand on a terminal: what a progress bar overwrote is gone."""
    text = line.decode(errors="replace").rstrip("\r")
    return text.rpartition("\r")[2]
