"""How a standard case is selected by declared support, and how none of them is lost unseen."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

import pytest

from freelane.clock import Clock, SystemClock
from freelane.contract.capability import Capability
from freelane.contract.provider import Provider
from freelane.errors import CapabilityUnsupported
from freelane.testing.project import Project
from freelane.testing.workshop import MakeOperation, Operations, Workshop
from freelane.waiting import Deadline

_TIDYING_S = 60.0  # apart from a case's own patience: what it left must not stay
S = TypeVar("S", bound="Conformance")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Case:
    """One standard case."""

    name: str
    family: str
    """Module and name of the class that brings it."""
    needs: tuple[Capability, ...]
    """It runs where all of these are declared usable."""
    test: Callable[..., None]


_CASES: dict[str, Case] = {}


def standard_cases() -> Mapping[str, Case]:
    """Every standard case, by its name, which is also what PARTIAL support excludes it by."""
    return _CASES


def case(
    *needs: Capability,
) -> Callable[[Callable[Concatenate[S, Workshop, P], None]], Callable[..., None]]:
    """Make a method a standard case that needs these capabilities.

    Where one of them is not usable it is skipped, and CapabilityConformance asks for the refusal.
    Where PARTIAL support excludes it by name, it must raise CapabilityUnsupported.
    """

    def declare(function: Callable[Concatenate[S, Workshop, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(self: S, workshop: Workshop, *args: P.args, **kwargs: P.kwargs) -> None:
            info = workshop.provider.info
            missing = [need.value for need in needs if not info.support(need).usable]
            if missing:
                pytest.skip(f"{info.name} does not declare {', '.join(missing)}")
            excluded = any(function.__name__ in info.support(need).excludes for need in needs)
            if not excluded:
                function(self, workshop, *args, **kwargs)
                return
            try:
                function(self, workshop, *args, **kwargs)
            except CapabilityUnsupported:
                return
            pytest.fail(
                f"{info.name} declares PARTIAL support that excludes {function.__name__}, "
                "so the case must raise CapabilityUnsupported, and it did not"
            )

        family = f"{function.__module__}.{function.__qualname__.rpartition('.')[0]}"
        known = _CASES.get(function.__name__)
        if known is not None and known.family != family:
            raise TypeError(f"{family} and {known.family} both have a case {function.__name__}")
        _CASES[function.__name__] = Case(function.__name__, family, needs, run)
        return run

    return declare


class Conformance:
    """What every family of standard cases has: its fixtures, and the guard over its cases.

    A provider's author brings the fixture `provider`, in the class or beside it, and may override
    any fixture here and the two attributes.
    """

    patience_s: ClassVar[float] = 60.0
    """How long one case may take in all, in seconds."""
    emulated: ClassVar[bool] = False
    """Whether the provider under test is its emulator; goes into each operation."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        name = Conformance.test_no_standard_case_is_dropped.__name__
        if inspect.getattr_static(cls, name) is not inspect.getattr_static(Conformance, name):
            raise TypeError(f"{cls.__name__} may not replace {name}: it guards the standard cases")

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the cases wait by."""
        return SystemClock()

    @pytest.fixture
    def deadline(self, clock: Clock) -> Deadline:
        """When a case gives up."""
        return Deadline(clock, self.patience_s)

    @pytest.fixture
    def train_options(self) -> object:
        """What a job's spec carries of `[providers.X.train]`."""
        return None

    @pytest.fixture
    def deploy_options(self) -> object:
        """What an endpoint's spec carries of `[providers.X.deploy]`."""
        return None

    @pytest.fixture
    def project(self, tmp_path: Path, train_options: object, deploy_options: object) -> Project:
        """A user's project, empty until a case writes its code."""
        return Project(
            tmp_path / "project", train_options=train_options, deploy_options=deploy_options
        )

    @pytest.fixture
    def make_operation(self, provider: Provider, clock: Clock) -> Iterator[MakeOperation]:
        """Makes operations; whatever came of them is ended after the case."""
        operations = Operations(provider, clock, emulated=self.emulated)
        yield operations.make
        operations.end_all(Deadline(clock, _TIDYING_S))

    @pytest.fixture
    def workshop(
        self,
        provider: Provider,
        project: Project,
        make_operation: MakeOperation,
        deadline: Deadline,
    ) -> Workshop:
        """All that a case works with, in one."""
        return Workshop(provider, project, make_operation, deadline)

    def test_no_standard_case_is_dropped(self) -> None:
        """Fail for each case that this class lost, or replaced without saying why."""
        faults = list(_faults(type(self)))
        if faults:
            pytest.fail(f"{type(self).__name__}: {'; '.join(faults)}", pytrace=False)


def _faults(cls: type) -> Iterator[str]:
    families = {f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__}
    for case_ in _CASES.values():
        if case_.family not in families:
            continue
        now = inspect.getattr_static(cls, case_.name, None)
        if now is case_.test:
            continue
        if not callable(now):
            yield f"the standard case {case_.name} is dropped"
        elif not _has_xfail_reason(now):
            yield (
                f"the standard case {case_.name} is overridden; mark the override with "
                "@pytest.mark.xfail(reason=...)"
            )


def _has_xfail_reason(test: object) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(
        mark.name == "xfail" and str(mark.kwargs.get("reason", "")).strip() for mark in marks
    )
