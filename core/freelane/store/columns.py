"""Column types that read back the same from SQLite and from PostgreSQL."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import JSON, BigInteger, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# SQLite numbers rows by themselves only in a column that is INTEGER to the letter.
Serial = BigInteger().with_variant(Integer, "sqlite")


class Moment(TypeDecorator[datetime]):
    """A point in time, kept as whole microseconds since 1970 in UTC.

    An integer sorts, indexes and compares alike on both databases, and loses nothing.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds of an aware `value`.

        Raises:
            ValueError: It has no time zone.
        """
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The moment, in UTC."""
        del dialect
        return None if value is None else moment(value)


class Prose(TypeDecorator[str]):
    """Words of a provider or of user code, verbatim but for what a database cannot hold.

    PostgreSQL refuses NUL in text, and neither database takes a lone surrogate; the end of a
    failed script's output may hold both.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The words, each impossible character replaced by a question mark."""
        del dialect
        return None if value is None else storable(value)


class Metrics(TypeDecorator[Mapping[str, float]]):
    """Numbers by name, NaN and infinities too, which JSON itself cannot say."""

    impl = JSON
    cache_ok = True

    def process_bind_param(
        self, value: Mapping[str, float] | None, dialect: Dialect
    ) -> dict[str, float | str]:
        """A JSON object; a number that is not finite becomes its name."""
        del dialect
        return {
            storable(name): number if math.isfinite(number) else str(number)
            for name, number in (value or {}).items()
        }

    def process_result_value(
        self, value: Mapping[str, float | str] | None, dialect: Dialect
    ) -> Mapping[str, float]:
        """The numbers again."""
        del dialect
        return {
            name: float(number) if isinstance(number, str) else number
            for name, number in (value or {}).items()
        }


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, as every moment is kept."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The moment of so many microseconds, in UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def storable(text: str) -> str:
    """The text, with a question mark for each character that no database holds."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")
