"""Reads a large JSON document member by member, so that only one member is in memory."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator

LARGEST_VALUE = 2**20
"""Characters of one value that is read whole."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_MARK = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class NotJson(ValueError):
    """The document is cut off, is no JSON, or holds one value too large."""


class JsonStream:
    """A document that arrives in pieces.

    Each member that `members` names has to be read by `value`, `members` or `skip` before the next.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._ended = False

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next.

        Raises:
            NotJson: It is no object.
        """
        self._expect("{")
        if self._peek() == "}":
            self._expect("}")
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise NotJson("a key is no text")
            self._expect(":")
            yield key
            if self._peek() == "}":
                self._expect("}")
                return
            self._expect(",")

    def value(self) -> object:
        """The value that comes next, whole.

        Raises:
            NotJson: It is none, or larger than 1 MiB.
        """
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                if self._ended or len(self._text) > LARGEST_VALUE or not self._more():
                    raise NotJson("not JSON, cut off, or one value is too large") from error
                continue
            # A number may go on in the next piece.
            if end == len(self._text) and not self._ended and self._more():
                continue
            self._text = self._text[end:]
            return value

    def skip(self) -> None:
        """Pass over the value that comes next, however large it is.

        Raises:
            NotJson: The document ends before it does.
        """
        if self._peek() not in "{[":
            self.value()
            return
        depth, at = 0, 0
        while True:
            mark = _MARK.search(self._text, at)
            if mark is None:
                self._text, at = "", 0
                self._need()
                continue
            if mark[0] == '"':
                end = _STRING_END.match(self._text, mark.end())
                if end is None:
                    self._text, at = self._text[mark.start() :], 0
                    if len(self._text) > LARGEST_VALUE:
                        raise NotJson("one text is too large")
                    self._need()
                    continue
                at = end.end()
                continue
            depth += 1 if mark[0] in "{[" else -1
            at = mark.end()
            if depth == 0:
                self._text = self._text[at:]
                return

    def _expect(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise NotJson(f"{wanted} was expected")
        self._text = self._text[1:]

    def _peek(self) -> str:
        """The next character that is no space."""
        while True:
            space = _SPACE.match(self._text)
            self._text = self._text[space.end() if space else 0 :]
            if self._text:
                return self._text[0]
            self._need()

    def _need(self) -> None:
        if not self._more():
            raise NotJson("it is cut off")

    def _more(self) -> bool:
        """Take one more piece; False where there is none."""
        for chunk in self._chunks:
            try:
                text = self._decode.decode(chunk)
            except UnicodeDecodeError as error:
                raise NotJson("it is not UTF-8") from error
            if text:
                self._text += text
                return True
        self._ended = True
        return False
