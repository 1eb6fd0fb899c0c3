"""`client.jobs`: train, look, follow, stop."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from freelane.client import show
from freelane.client.session import Session
from freelane.contract.provider import Provider
from freelane.model import job as model
from freelane.model.job import Hyperparameter, JobSpec
from freelane.model.lifecycle import JobState
from freelane.model.operation import Verb
from freelane.model.plan import Plan
from freelane.service.job_records import raise_if_failed
from freelane.service.planning import Outlook

if TYPE_CHECKING:
    from freelane.client.specs import Drafted

SUBMIT_S = 600.0
"""How long handing a job over may take, upload included, in seconds."""


class Job:
    """A training job, as it was when it was last looked at; `refresh()` looks again."""

    def __init__(self, jobs: "Jobs", record: model.Job) -> None:
        self._jobs = jobs
        self.record = record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def provider(self) -> str:
        return self.record.provider

    @property
    def state(self) -> JobState:
        return self.record.state

    @property
    def artifact(self) -> str | None:
        """The id of the model it wrote; None while there is none."""
        return self.record.artifact

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.record.metrics

    @property
    def reason(self) -> str | None:
        """Why it ended as it did, in the provider's words."""
        return self.record.reason

    def refresh(self) -> "Job":
        """Look at the provider again."""
        return self._jobs.get(self.id)

    def wait(self, *, timeout_s: float | None = None) -> "Job":
        """Look until it has ended; see `Jobs.wait`."""
        return self._jobs.wait(self.id, timeout_s=timeout_s)

    def stop(self) -> "Job":
        """Ask the provider to stop it."""
        return self._jobs.stop(self.id)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines of its log."""
        return self._jobs.logs(self.id, follow=follow)

    def to_json(self) -> dict[str, object]:
        """The fields of `--json`."""
        record = self.record
        return {
            "id": record.id,
            "name": record.name,
            "project": record.project,
            "provider": record.provider,
            "emulated": record.emulated,
            "state": str(record.state),
            "detail": record.detail,
            "created": _iso(record.created),
            "started": _iso(record.started),
            "ended": _iso(record.ended),
            "billed_seconds": record.billed_seconds,
            "artifact": record.artifact,
            "metrics": dict(record.metrics),
            "reason": record.reason,
            "cost_usd": record.cost_usd,
        }

    def __repr__(self) -> str:
        return f"<Job {self.id} on {self.provider}: {self.state}>"

    def _repr_html_(self) -> str:
        return show.card(f"job {self.id}", self.to_json())


class Jobs:
    """Training jobs of this project; outside a project, of all of yours."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def plan(
        self,
        *,
        name: str | None = None,
        script: str | None = None,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Plan:
        """What `train` with these arguments would do; nothing is done."""
        provider, drafted = self._draft(name, script, hyperparameters, inputs)
        info, _config = self._session.provider_config(provider)
        spec = drafted.spec
        running = self._session.training.running_like(provider, spec.name, drafted.spec_hash)
        wired = self._session.resolve(provider)
        ahead = Outlook()
        if running is None:
            ahead = self._session.planning.outlook(wired, spec, self._elsewhere(provider, spec))
        return Plan(
            verb=Verb.TRAIN,
            provider=provider,
            emulated=self._session.emulated,
            owned=info.owned,
            name=spec.name,
            change="resume" if running else "create",
            script=spec.script,
            files=len(spec.files),
            upload_bytes=drafted.upload_bytes,
            max_runtime=spec.max_runtime,
            warnings=drafted.warnings,
            lines=ahead.lines,
            refusal=ahead.refusal,
            alternatives=ahead.alternatives,
            exhaustion=ahead.exhaustion,
        )

    def _elsewhere(self, provider: str, spec: JobSpec) -> Iterator[tuple[Provider, JobSpec]]:
        """The same job on the other providers that train."""
        for other, table in self._session.others(provider):
            if other.trainer is not None:
                yield other, replace(spec, options=getattr(table, "train", None))

    def submit(
        self,
        *,
        name: str | None = None,
        script: str | None = None,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Job:
        """Hand the job to the provider and return; the same spec still running is that job.

        Raises:
            ConfigError: Something in the project does not hold.
            ResourceConflict: Another process is submitting a job of this name.
            OutcomeUnknown: The provider may or may not have the job.
        """
        provider, drafted = self._draft(name, script, hyperparameters, inputs)
        record = self._session.training.submit(
            drafted.spec,
            provider=provider,
            spec_hash=drafted.spec_hash,
            deadline=self._session.workspace.deadline(SUBMIT_S),
        )
        return Job(self, record)

    def train(
        self,
        *,
        name: str | None = None,
        script: str | None = None,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        inputs: Mapping[str, str] | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Job:
        """Train, and wait for the end; `on_line` gets each line of the log as it comes.

        Raises:
            JobFailed: The job failed; the message carries the reason.
            DeadlineExceeded: It goes on past `timeout_s` seconds.
        """
        job = self.submit(name=name, script=script, hyperparameters=hyperparameters, inputs=inputs)
        if not wait:
            return job
        if on_line is not None:
            return self.follow(job, on_line, timeout_s=timeout_s)
        return self.wait(job.id, timeout_s=timeout_s)

    def follow(
        self, job: Job, on_line: Callable[[str], None], *, timeout_s: float | None = None
    ) -> Job:
        """Hand each line of its log to `on_line` until it ends, then answer like `wait`."""
        deadline = self._session.workspace.deadline(timeout_s)
        for line in self._session.training.logs(job.record, follow=True, deadline=deadline):
            on_line(line)
        ended = self._session.job_records.wait(job.record, deadline=deadline)
        return Job(self, raise_if_failed(ended))

    def wait(self, job: str, *, timeout_s: float | None = None) -> Job:
        """Look until the job has ended.

        Raises:
            JobFailed: It failed; the message carries the reason.
            DeadlineExceeded: It goes on past `timeout_s` seconds.
        """
        records = self._session.job_records
        record = records.wait(
            records.get(job), deadline=self._session.workspace.deadline(timeout_s)
        )
        return Job(self, raise_if_failed(record))

    def list(self, *, limit: int | None = 50) -> "list[Job]":
        """The newest first, of every project outside one; those that go on are looked at."""
        records = self._session.job_records
        found = records.newest(limit, everywhere=self._session.config.file is None)
        return [Job(self, job) for job in records.glance(found)]

    def get(self, job: str) -> Job:
        """The job of an id, a unique beginning of one, or the newest of a name; looked at now."""
        records = self._session.job_records
        return Job(self, records.refresh(records.get(job)))

    def logs(self, job: str, *, follow: bool = False) -> Iterator[str]:
        """The lines of its log; with `follow`, until nothing more will come."""
        session = self._session
        return session.training.logs(
            session.job_records.get(job), follow=follow, deadline=session.workspace.deadline(None)
        )

    def stop(self, job: str) -> Job:
        """Ask the provider to stop it; one that has ended stays as it is."""
        return Job(self, self._session.training.stop(self._session.job_records.get(job)))

    def _draft(
        self,
        name: str | None,
        script: str | None,
        hyperparameters: Mapping[str, Hyperparameter] | None,
        inputs: Mapping[str, str] | None,
    ) -> "tuple[str, Drafted[JobSpec]]":
        from freelane.client import specs  # noqa: PLC0415 - a listing pays for no drafting

        config = self._session.config
        config.require_project()
        provider = config.provider_for(Verb.TRAIN)
        # First of all, for nothing in the project can mend it.
        self._session.job_records.trainer(self._session.resolve(provider))
        _info, table = self._session.provider_config(provider)
        return provider, specs.job_spec(
            config,
            options=getattr(table, "train", None),
            name=name,
            script=script,
            hyperparameters=hyperparameters,
            inputs=inputs,
        )


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
