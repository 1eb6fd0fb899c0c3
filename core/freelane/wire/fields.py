"""Reads a JSON object field by field, and refuses by name what nobody reads.

An answer that left a field out of account unsaid would be a wrong one: what is not taken is told.
null is as good as absent everywhere, since clients send what they were not given as null.
"""

import math
from collections.abc import Mapping

from freelane.model.prediction import JsonValue
from freelane.wire.strict_json import BodyRefused, loads

_EMPTY: tuple[JsonValue, ...] = (None, [], {})


class FieldRefused(BodyRefused):
    """A field of the body is not taken; `field` is its path, as `messages[0].content`."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(400, f"{field} {why}" if field else why)
        self.field = field


class Fields:
    """One object of a body; each read takes a field, `end` refuses those that are left."""

    def __init__(self, document: JsonValue, where: str = "") -> None:
        """`where` is the object's own path in the body."""
        if not isinstance(document, dict):
            raise FieldRefused(where, "is not an object" if where else "the body is not an object")
        self._left: dict[str, JsonValue] = dict(document)
        self._where = where

    @classmethod
    def of_body(cls, body: bytes) -> "Fields":
        """The object that a body is.

        Raises:
            BodyRefused: It is none.
        """
        return cls(loads(body))

    def path(self, name: str) -> str:
        """Where a field stands in the body."""
        return f"{self._where}.{name}" if self._where else name

    def refused(self, name: str, why: str) -> FieldRefused:
        """The refusal of one field."""
        return FieldRefused(self.path(name), why)

    def take(self, name: str) -> JsonValue:
        """Whatever the field holds; None where it is absent."""
        return self._left.pop(name, None)

    def text(self, name: str, *, most: int | None = None) -> str | None:
        """A string, of at most so many characters."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise self.refused(name, "is not a string")
        if value is not None and most is not None and len(value) > most:
            raise self.refused(name, f"is longer than {most} characters")
        return value

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise self.refused(name, "is neither true nor false")
        return bool(value)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from `low` to `high`."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refused(name, "is not a number")
        if not low <= value <= high:
            raise self.refused(name, f"is not from {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int) -> int | None:
        """An integer from `low` to `high`; 3.0 is one too, as some clients write it."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refused(name, "is not an integer")
        if not low <= value <= high:
            raise self.refused(name, f"is not from {low} to {high}")
        return value

    def items(self, name: str, *, most: int | None = None) -> list[JsonValue] | None:
        """A list, of at most so many items."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.refused(name, "is not a list")
        if most is not None and len(value) > most:
            raise self.refused(name, f"has more than {most} items")
        return value

    def texts(self, name: str, *, most: int, longest: int) -> tuple[str, ...]:
        """A list of strings, or a single one; none of them empty."""
        value = self.take(name)
        if value is None:
            return ()
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or len(found) > most:
            raise self.refused(name, f"is neither a string nor a list of at most {most}")
        texts = tuple(item for item in found if isinstance(item, str))
        if len(texts) < len(found):
            raise self.refused(name, "holds what is not a string")
        if not all(0 < len(text) <= longest for text in texts):
            raise self.refused(name, f"holds a string that is empty, or longer than {longest}")
        return texts

    def inner(self, name: str) -> "Fields | None":
        """An object."""
        value = self.take(name)
        return None if value is None else Fields(value, self.path(name))

    def only(self, name: str, *inert: JsonValue, why: str = "is not supported here") -> None:
        """A field that may be given where it says what happens anyway."""
        value = self.take(name)
        if value in _EMPTY:
            return
        if not any(type(value) is type(one) and value == one for one in inert):
            raise self.refused(name, why)

    def off(self, name: str) -> None:
        """A field that may only be false."""
        value = self.take(name)
        if value is not None and value is not False:
            raise self.refused(name, "is not supported here")

    def hints(self, *names: str) -> None:
        """Fields on which no answer depends."""
        for name in names:
            self.take(name)

    def end(self) -> None:
        """Refuse what nobody took."""
        for name, value in self._left.items():
            if value not in _EMPTY:
                raise self.refused(name[:100], "is not supported here")


def numbers(value: JsonValue) -> int:
    """An amount that an answer tells; 0 where it tells none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def inner_of(document: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    """An object in an answer; an empty one where it is absent."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}
