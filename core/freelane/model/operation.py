"""One recorded intent: written before the provider is called, so that nothing is orphaned."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from freelane.model.estimate import Timed
from freelane.model.name import resource_name

TAG_OWNER = "freelane-owner"
TAG_OPERATION = "freelane-operation"
TAG_EXPIRES = "freelane-expires"
TAG_PROJECT = "freelane-project"
TAG_NAME = "freelane-name"


class Verb(StrEnum):
    """What an operation makes."""

    TRAIN = "train"
    DEPLOY = "deploy"
    UPDATE = "update"
    """Changes what an endpoint serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What was going to be made, under which name, for whom."""

    id: str
    """32 hex characters."""
    verb: Verb
    owner: str
    project: str
    provider: str
    emulated: bool
    name: str
    spec_hash: str
    created: datetime
    expires: datetime | None = None
    """When what it makes must be gone; None for what ends by itself."""

    @property
    def resource(self) -> str:
        """The name at the provider, the same for every rerun of this operation."""
        return resource_name(self.project, self.name, self.id)

    def tags(self) -> dict[str, str]:
        """The labels that every resource it makes carries; values fit every provider's rules."""
        tags = {
            TAG_OWNER: self.owner,
            TAG_OPERATION: self.id,
            TAG_PROJECT: self.project,
            TAG_NAME: self.name,
        }
        if self.expires is not None:
            tags[TAG_EXPIRES] = str(int(self.expires.timestamp()))
        return tags


H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Found(Generic[H]):
    """The provider shows what the operation made."""

    handle: H


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider shows that the operation made nothing."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider does not tell; nothing may be submitted again."""

    why: str


class ResourceKind(StrEnum):
    """What an inventory lists."""

    JOB = "job"
    ENDPOINT = "endpoint"
    ARTIFACT = "artifact"
    KILL_SWITCH = "kill switch"
    OTHER = "other"
    """Whatever else bills or could: a notebook, a disk, another's endpoint of no kind of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing at a provider that exists and may bill, ours or not."""

    kind: ResourceKind
    name: str
    ref: str
    state: str
    tags: dict[str, str]
    created: datetime | None = None
    billing: bool = False
    costs: tuple[Timed, ...] = ()
    """What it uses by the hour; empty and `billing`: nobody knows."""
    last_used: datetime | None = None
    """When it last did anything for anybody; None where that is not known."""

    @property
    def owner(self) -> str | None:
        """The Freelane owner that made it; None for what Freelane did not make."""
        return self.tags.get(TAG_OWNER)
