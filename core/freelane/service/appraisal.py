"""What an operation asks for: the provider's estimate, on the terms of this account."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.contract.provider import Provider
from freelane.errors import DeadlineExceeded, ProviderError
from freelane.model.endpoint import EndpointHandle, EndpointSpec
from freelane.model.estimate import UNKNOWN_ACCOUNT, Account, Estimate, Reading, Timed, UnknownCost
from freelane.model.generation import GenerationRequest
from freelane.model.job import JobSpec
from freelane.model.operation import Verb
from freelane.model.prediction import PredictionRequest
from freelane.quota.demand import Demand
from freelane.quota.eligibility import Eligible, judge
from freelane.quota.ledger import readings
from freelane.quota.terms import Terms
from freelane.quota.weighing import Payer, source_of, weigh
from freelane.quota.window import cells
from freelane.service.workspace import Workspace

Spec = JobSpec | EndpointSpec
Request = PredictionRequest | GenerationRequest
INSTANCE_TYPE = "instance_type"
"""The attribute of a meter that says on what kind of machine it runs."""
DEFAULT_RUNTIME = timedelta(hours=1)
"""How long a job may run where it bills and nothing is said."""
READ_S = 15.0
"""How long reading what the provider says of the account may take, in seconds."""


class Appraisal:
    """Weighs what the services are asked to do; holds nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._accounts: dict[str, Account] = {}

    def demands(
        self, provider: Provider, spec: Spec, *, instance_type: str | None = None
    ) -> tuple[Demand, ...]:
        """What a job or an endpoint uses until its end; nothing on the user's own hardware.

        `instance_type` asks what it would use on another one.

        Raises:
            QuotaExceeded: What it costs is unknown, or it bills while idle and has no end.
        """
        estimate = self._estimate(provider, spec)
        if instance_type is not None:
            estimate = _on(estimate, instance_type)
        return self._weigh(provider, estimate, duration=longest(spec))

    def anew(self, provider: Provider, stands: Sequence[Demand]) -> tuple[Demand, ...]:
        """The same stretches of time, on the terms and the budgets of today.

        Raises:
            QuotaExceeded: Whether it is free depends on what nobody has said of the account.
        """
        lines = [
            Timed(
                what=demand.what,
                meter=demand.meter,
                unit=demand.unit,
                per_hour=demand.amount,
                attributes=demand.attributes,
            )
            for demand in stands
        ]
        now = self._workspace.clock.now()
        until = max((demand.end or now for demand in stands), default=now)
        weighed = self._weigh(provider, Estimate(lines=tuple(lines)), duration=until - now)
        return tuple(
            demand.over(was.start, was.end or until)
            for demand, was in zip(weighed, stands, strict=True)
        )

    def free_types(self, provider: Provider, spec: Spec) -> list[str]:
        """Instance types that a free allowance covers, and that the spec does not use."""
        lines = [line for line in self._estimate(provider, spec).lines if isinstance(line, Timed)]
        used = {line.attributes.get(INSTANCE_TYPE) for line in lines}
        covered = {
            instance_type
            for quota in self._workspace.terms(provider.name).quotas
            if quota.meter in {line.meter for line in lines}
            for instance_type in quota.match.get(INSTANCE_TYPE, ())
        }
        return sorted(covered - used)

    def request_demands(
        self, provider: Provider, handle: EndpointHandle, request: Request
    ) -> tuple[Demand, ...]:
        """What one attempt of a prediction, or of a text, uses, at most.

        Raises:
            QuotaExceeded: What it costs is unknown.
        """
        if provider.quota is None or provider.info.owned:
            return ()  # an endpoint of a provider that says nothing was not admitted
        if isinstance(request, PredictionRequest):
            estimate = provider.quota.estimate_prediction(handle, request)
        else:
            estimate = provider.quota.estimate_generation(handle, request)
        return self._weigh(provider, estimate, duration=None)

    def terms(self, provider: Provider) -> Terms:
        """On what terms it is used: what was said of the account, filled up by what can be read.

        Whose account it is names its counters: where that could be read a moment later, going on
        without it would count from nothing again.

        Raises:
            ProviderError: It cannot be read now, and may be later.
            DeadlineExceeded: The same.
        """
        terms = self._workspace.terms(provider.name)
        if provider.quota is None or provider.info.owned:
            return terms
        if provider.name not in self._accounts:
            read = UNKNOWN_ACCOUNT
            try:
                read = provider.quota.account(deadline=self._workspace.deadline(READ_S))
            except ProviderError as error:
                if error.retryable:
                    raise
                # What nobody tells stays unknown.
            self._accounts[provider.name] = _filled(read, terms.account)
        return replace(terms, account=self._accounts[provider.name])

    def read_usage(self, provider: Provider) -> int:
        """Take over what the provider itself says was used; how many numbers it told."""
        workspace = self._workspace
        if provider.quota is None or provider.info.owned:
            return 0
        try:
            told = list(provider.quota.usage(deadline=workspace.deadline(READ_S)))
        except (ProviderError, DeadlineExceeded):
            return 0  # our own count stands
        if told:
            terms, now = self.terms(provider), workspace.clock.now()
            with workspace.store.begin() as connection:
                for reading in told:
                    _observe(connection, reading, terms, now)
        return len(told)

    def _weigh(
        self, provider: Provider, estimate: Estimate, *, duration: timedelta | None
    ) -> tuple[Demand, ...]:
        workspace = self._workspace
        if not estimate.lines:
            return ()
        payer = Payer(owner=workspace.owner, project=workspace.project, spending=workspace.spending)
        now = workspace.clock.now()
        return weigh(estimate, self.terms(provider), payer, now=now, duration=duration)

    def _estimate(self, provider: Provider, spec: Spec) -> Estimate:
        if provider.info.owned:
            return Estimate()
        if provider.quota is None:
            verb = Verb.TRAIN if isinstance(spec, JobSpec) else Verb.DEPLOY
            why = f"plugin {provider.info.name} does not say what it uses"
            return Estimate(lines=(UnknownCost(what=f"{verb} {spec.name}", why=why),))
        if isinstance(spec, JobSpec):
            return provider.quota.estimate_job(spec)
        return provider.quota.estimate_endpoint(spec)


def longest(spec: Spec) -> timedelta | None:
    """How long what it makes may exist; None where it has no end."""
    if isinstance(spec, JobSpec):
        return spec.max_runtime or DEFAULT_RUNTIME
    return spec.ttl


def _on(estimate: Estimate, instance_type: str) -> Estimate:
    lines = (
        replace(line, attributes={**line.attributes, INSTANCE_TYPE: instance_type})
        if isinstance(line, Timed)
        else line
        for line in estimate.lines
    )
    return replace(estimate, lines=tuple(lines))


def _observe(connection: Connection, reading: Reading, terms: Terms, now: datetime) -> None:
    """Count at least what the provider says; a quota that nobody knows is passed over."""
    for quota in terms.quotas:
        verdict = judge(quota, terms.account, now)
        if quota.id != reading.quota or not isinstance(verdict, Eligible):
            continue
        source = source_of(verdict.quota, terms, reading.subject_attributes)
        told_by = f"read from {terms.provider}"
        # What it says is of one window, however near its reset is.
        (cell,) = cells(source.key, replace(source.window, skew_s=0), reading.as_of)
        readings.observe(connection, cell, reading.used, reading.as_of, now, told_by)
        if reading.limit is not None:
            readings.learn_limit(connection, source.key, reading.limit, now, told_by)


def _filled(read: Account, said: Account) -> Account:
    """What was read, and what was said where nothing could be read."""
    known = {
        field.name: getattr(read, field.name)
        for field in fields(Account)
        if getattr(read, field.name) not in {None, ""}
    }
    return replace(said, **known)
