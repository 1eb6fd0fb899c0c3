"""What a configuration may say: each key, its type and its default.

Provider tables stay raw: a plugin's own class reads them on first use.
"""

from collections.abc import Mapping
from typing import Annotated, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from freelane.config.reading import (
    BudgetSum,
    Cards,
    Channel,
    Count,
    Cpus,
    DatabaseUrl,
    Duration,
    HyperparameterValue,
    InputSource,
    Limit,
    Pin,
    ProjectName,
    ProviderName,
    ReadAs,
    Script,
    SecretName,
    Size,
    Text,
    VariableName,
)
from freelane.model.endpoint import EndpointMode, RateLimits, Replicas
from freelane.model.resources import ANY_RESOURCES, NO_ACCELERATOR, Resources
from freelane.model.spending import Credits, Exhausted, Policy


class Table(BaseModel):
    """A table whose keys are all known; an error never repeats a value by itself."""

    # Deferred: the whole is built once, on the first load, and no part of it for itself.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )


class ResourcesTable(Table):
    """`resources = { cpus, memory, accelerator }`."""

    cpus: Cpus | None = None
    memory: Size | None = None
    accelerator: Cards = NO_ACCELERATOR

    def build(self) -> Resources:
        """The model's own type."""
        return Resources(cpus=self.cpus, memory_bytes=self.memory, accelerator=self.accelerator)


class ReplicasTable(Table):
    """`replicas = { min, max }`."""

    min: Count = 0
    max: Limit = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError("freelane", "min is larger than max")
        return self

    def build(self) -> Replicas:
        """The model's own type."""
        return Replicas(min=self.min, max=self.max)


class RateTable(Table):
    """`rate = { per_minute, per_hour, per_day, per_month }`; an absent one is no limit."""

    per_minute: Limit | None = None
    per_hour: Limit | None = None
    per_day: Limit | None = None
    per_month: Limit | None = None

    def build(self) -> RateLimits:
        """The model's own type."""
        return RateLimits(
            per_minute=self.per_minute,
            per_hour=self.per_hour,
            per_day=self.per_day,
            per_month=self.per_month,
        )


class Code(Table):
    """What `[train]` and `[deploy]` have in common: whose code runs, where and with what."""

    provider: ProviderName | None = None
    """Overrides the top line for this verb."""
    framework: Pin | None = None
    resources: Annotated[Resources, ReadAs(ResourcesTable, ResourcesTable.build)] = ANY_RESOURCES
    env: Mapping[VariableName, Text] = Field(default_factory=dict, repr=False)
    secrets: tuple[SecretName, ...] = ()
    exclude: tuple[Text, ...] = ()
    max_upload: Size = 100 * 2**20
    """Bytes."""


class TrainConfig(Code):
    """`[train]`."""

    script: Script = "train.py"
    inputs: Mapping[
        Channel,
        InputSource,
    ] = Field(default_factory=dict)
    hyperparameters: Mapping[str, HyperparameterValue] = Field(default_factory=dict)
    max_runtime: Duration | None = None
    """None leaves it to the provider: clouds take 1 h, local none."""


class DeployConfig(Code):
    """`[deploy]`."""

    script: Script = "predict.py"
    mode: EndpointMode = EndpointMode.AUTO
    replicas: Annotated[Replicas, ReadAs(ReplicasTable, ReplicasTable.build)] = Replicas()
    ttl: Duration | None = None
    rate: Annotated[RateLimits, ReadAs(RateTable, RateTable.build)] = RateLimits()


class GuardConfig(Table):
    """`[guard]`."""

    policy: Policy = Policy.FREE
    budget: BudgetSum | None = None
    credits: Credits = Credits.ASK
    exhausted: Exhausted = Exhausted.REFUSE

    @model_validator(mode="after")
    def _budgeted(self) -> Self:
        if self.policy is Policy.BUDGET and self.budget is None:
            raise PydanticCustomError(
                "freelane", 'policy = "budget" needs a sum: add budget = "10 USD/month"'
            )
        return self


class ProjectConfig(Table):
    """The whole configuration."""

    name: ProjectName = ""
    """Empty only where there is no project."""
    provider: ProviderName = "local"
    database_url: DatabaseUrl | None = None
    """Never from a project file."""
    train: TrainConfig | None = None
    deploy: DeployConfig | None = None
    guard: GuardConfig = Field(default_factory=GuardConfig)
    providers: Mapping[ProviderName, Mapping[str, object]] = Field(default_factory=dict, repr=False)
    """Raw tables; a plugin's own class reads its one."""


def keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str] | None:
    """The keys that the table at `path` of `model` has; None where its keys are free."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = None if field is None else _table_of(field.annotation, field.metadata)
        if inner is None:
            return None
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _table_of(annotation: object, metadata: list[object]) -> type[BaseModel] | None:
    for mark in metadata:
        if isinstance(mark, ReadAs):
            return mark.table
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _table_of(inner, [])
        if found is not None:
            return found
    return None
