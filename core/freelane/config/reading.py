"""How a value of the configuration is read: texts with a grammar, names, numbers.

The model's parsers do the reading, and their words become the error.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    InstanceOf,
    SecretStr,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from freelane.errors import ConfigError
from freelane.model.amount import parse_usd
from freelane.model.budget import Budget
from freelane.model.choice import Framework
from freelane.model.estimate import Never
from freelane.model.job import Hyperparameter
from freelane.model.name import check_name
from freelane.model.resources import Accelerator, parse_duration, parse_size

Raw = TypeVar("Raw")
T = TypeVar("T")
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NEVER: Never = "never"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_INPUT_SCHEMES = frozenset({"s3", "gs"})


def _saying(read: Callable[[Raw], T]) -> Callable[[Raw], T]:
    """`read` for pydantic, which then adds the key to the parser's own words."""

    def validate(value: Raw) -> T:
        try:
            return read(value)
        except ConfigError as error:
            raise PydanticCustomError("freelane", "{said}", {"said": error.message}) from error

    return validate


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta) and value > timedelta():
        return value
    if not isinstance(value, str):
        raise ConfigError(f'{value!r} is not a duration: write a text such as "30m"')
    return parse_duration(value)


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ConfigError(f'{value!r} is not a size: write a text such as "8GiB"')
    size_bytes = parse_size(value)
    if size_bytes == 0:
        raise ConfigError(f"{value!r} is nothing: give at least 1 byte")
    return size_bytes


def _accelerator(value: object) -> Accelerator:
    if isinstance(value, Accelerator):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ConfigError(f'{value!r} is not an accelerator: write "none", "auto", "1" or "T4:1"')
    return Accelerator.parse(str(value))


def _framework(value: object) -> Framework:
    if isinstance(value, Framework):
        return value
    if not isinstance(value, str):
        raise ConfigError(f'{value!r} is not a framework: write "sklearn" or "sklearn==1.4.2"')
    return Framework.parse(value)


def _budget(value: object) -> Budget:
    if isinstance(value, Budget):
        return value
    if not isinstance(value, str):
        raise ConfigError(f'{value!r} is not a budget: write a text such as "10 USD/month"')
    return Budget.parse(value)


def _usd(value: object) -> int:
    if not isinstance(value, str):
        raise ConfigError(f'{value!r} is not a sum: write a text such as "80 USD"')
    try:
        return parse_usd(value)
    except ConfigError:
        raise ConfigError(f"{value!r} is not a sum: write it like 80 USD") from None


def _day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # a month or day that no calendar has
    shown = value.isoformat() if isinstance(value, datetime) else value
    raise ConfigError(f"{shown!r} is not a day: write it like 2025-07-15")


def _day_or_never(value: object) -> date | Never:
    if value == _NEVER:
        return _NEVER
    try:
        return _day(value)
    except ConfigError as error:
        raise ConfigError(f'{error.message}, or "never"') from error


def _hyperparameter(value: object) -> Hyperparameter:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is not a hyperparameter: it has no JSON form")
    if isinstance(value, (str, int, float)):  # a bool is an int
        return value
    raise ConfigError("a hyperparameter is a text, a number, true or false")


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ConfigError("should be a number, not true or false")
    return value


def _project_name(name: str) -> str:
    return check_name(name, what="project")


def _provider_name(name: str) -> str:
    return check_name(name, what="provider")


def _script(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise ConfigError(f"{path!r} should be a file inside the project's folder")
    return path


def _channel(name: str) -> str:
    if _CHANNEL.fullmatch(name):
        return name
    raise ConfigError(
        f"{name!r} cannot name an input: use a-z, 0-9 and _, starting with a letter, "
        "at most 40 characters"
    )


def _input(source: str) -> str:
    match = _SCHEME.match(source)
    if source and "\0" not in source and (match is None or match[1].lower() in _INPUT_SCHEMES):
        return source
    raise ConfigError(f"{source!r} should be a path, s3://... or gs://...")


def _variable(name: str) -> str:
    if _VARIABLE.fullmatch(name):
        return name
    raise ConfigError(f"{name!r} is not the name of an environment variable")


def _secret(name: str) -> str:
    if _VARIABLE.fullmatch(name):
        return name
    # What stands there may be the secret itself: it is not repeated.
    raise ConfigError(
        "not the name of an environment variable; write the name of the secret, never its value"
    )


def _text(value: str) -> str:
    if "\0" in value:
        raise ConfigError("a NUL character cannot be part of it")
    return value


def _database_url(url: SecretStr) -> SecretStr:
    if url.get_secret_value().startswith("postgresql://"):
        return url
    raise ConfigError("should start with postgresql://")  # it may hold a password: not repeated


@dataclass(frozen=True, slots=True)
class ReadAs:
    """Reads a table by the keys of `table` and turns it into a model type."""

    table: type[BaseModel]
    build: Callable[..., object]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.build, handler(self.table))


Duration = Annotated[timedelta, BeforeValidator(_saying(_duration))]
Size = Annotated[int, BeforeValidator(_saying(_size))]
Pin = Annotated[InstanceOf[Framework], BeforeValidator(_saying(_framework))]
ProviderName = Annotated[str, AfterValidator(_saying(_provider_name))]
Text = Annotated[str, AfterValidator(_saying(_text))]
VariableName = Annotated[str, AfterValidator(_saying(_variable))]
SecretName = Annotated[str, AfterValidator(_saying(_secret))]
Count = Annotated[int, BeforeValidator(_saying(_not_bool)), Field(ge=0)]
Limit = Annotated[int, BeforeValidator(_saying(_not_bool)), Field(ge=1)]
Cpus = Annotated[
    float, BeforeValidator(_saying(_not_bool)), Field(gt=0, allow_inf_nan=False, le=10_000)
]
Cards = Annotated[InstanceOf[Accelerator], BeforeValidator(_saying(_accelerator))]
BudgetSum = Annotated[InstanceOf[Budget], BeforeValidator(_saying(_budget))]
Usd = Annotated[int, BeforeValidator(_saying(_usd))]
Day = Annotated[date, BeforeValidator(_saying(_day))]
DayOrNever = Annotated[date | Literal["never"], BeforeValidator(_saying(_day_or_never))]
ProjectName = Annotated[str, AfterValidator(_saying(_project_name))]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_saying(_database_url))]
Script = Annotated[str, AfterValidator(_saying(_script))]
Channel = Annotated[str, AfterValidator(_saying(_channel))]
InputSource = Annotated[str, AfterValidator(_saying(_input))]
HyperparameterValue = Annotated[Hyperparameter, BeforeValidator(_saying(_hyperparameter))]
