"""Ends a text where its caller asked it to end: at a stop sequence, or after so many tokens.

The tokens of a model that does not tell them are counted roughly: a word is one, and so is a
character of a script without spaces, and no piece has fewer than one. A model that writes token
by token and keeps to max_tokens itself is never cut short by that.
"""

import re
from collections.abc import Sequence

from freelane.model.generation import Finish

_CLOSE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"  # scripts that set no spaces
_TOKEN = re.compile(rf"\s*(?:[{_CLOSE}]|[^\s{_CLOSE}]{{1,20}})\s*|\s+")
_CHARACTERS_A_TOKEN = 4


def rough_count(texts: Sequence[str]) -> int:
    """The tokens of texts, as `portable.text` counts them."""
    return sum(-(-len(text) // _CHARACTERS_A_TOKEN) for text in texts)


class Cutter:
    """Takes a text piece by piece, gives what of it may be told."""

    def __init__(self, *, max_tokens: int | None = None, stop: Sequence[str] = ()) -> None:
        self.finish: Finish | None = None
        """Why the text ends here, once it does: nothing more is to be fed."""
        self.tokens = 0
        """That were fed, cut or not."""
        self._max_tokens = max_tokens
        self._stop = tuple(stop)
        self._prefixes = {text[:size] for text in self._stop for size in range(1, len(text))}
        self._longest = max(map(len, self._stop), default=1) - 1
        self._held = ""
        """What may be the beginning of a stop sequence."""

    def feed(self, text: str) -> str:
        """What may be told now; `finish` says whether it is the last."""
        text = self._within_limit(text)
        if self._stop:
            text = self._before_stop(self._held + text)
        if self.finish is not None:
            return text + self.rest()
        return text

    def rest(self) -> str:
        """What was held back, when the model has come to its end."""
        held, self._held = self._held, ""
        return held

    def _within_limit(self, text: str) -> str:
        if not text:
            return text
        tokens = _TOKEN.findall(text)
        left = None if self._max_tokens is None else self._max_tokens - self.tokens
        if left is None or len(tokens) < left:
            self.tokens += len(tokens)
            return text
        self.tokens += left
        self.finish = Finish.LENGTH
        return "".join(tokens[:left])

    def _before_stop(self, text: str) -> str:
        # What ends first is what a reader of single characters would come upon first.
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.finish = Finish.STOP
            self._held = ""
            return text[: min(found)[1]]
        for size in range(min(self._longest, len(text)), 0, -1):
            if text[-size:] in self._prefixes:
                self._held = text[-size:]
                return text[:-size]
        self._held = ""
        return text
