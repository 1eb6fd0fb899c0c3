"""Standard cases of training jobs."""

from datetime import timedelta
from pathlib import Path

import pytest

from freelane.contract.capability import Capability
from freelane.contract.provider import Trainer
from freelane.errors import ResourceConflict, ResourceNotFound
from freelane.model.job import FailureCause, Hyperparameter, JobHandle, LogPage
from freelane.model.lifecycle import JobState
from freelane.model.operation import Absent, Found
from freelane.model.resources import Accelerator, Resources
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, end_of_job, pauses, twin
from freelane.waiting import Deadline, poll


class TrainingConformance(Conformance):
    """Jobs: submitted once, watched, read, stopped, and honest about how they ended."""

    @case(Capability.TRAIN)
    def test_a_job_succeeds_and_hands_over_its_model(self, workshop: Workshop) -> None:
        status = workshop.run_well(workshop.project.job(scripts.WRITES_MODEL))

        assert status.artifact is not None
        assert len(status.artifact.digest) == 64
        assert status.ended is not None
        assert status.reason is None
        if workshop.provider.info.owned:
            assert not status.billed_seconds, "the user's own hardware bills nothing"

    @case(Capability.TRAIN, Capability.ARTIFACTS)
    def test_a_jobs_model_can_be_fetched(self, workshop: Workshop, tmp_path: Path) -> None:
        status = workshop.run_well(workshop.project.job(scripts.WRITES_MODEL))
        assert status.artifact is not None
        folder = tmp_path / "fetched"
        folder.mkdir()

        manifest = workshop.artifacts.fetch(status.artifact, folder, deadline=workshop.deadline)

        assert manifest.digest == status.artifact.digest
        assert (folder / "model.json").read_text(encoding="utf-8") == '{"factor": 2}'
        assert (folder / "parts" / "notes.txt").exists()

    @case(Capability.TRAIN, Capability.METRICS)
    def test_metrics_json_becomes_the_jobs_metrics(self, workshop: Workshop) -> None:
        status = workshop.run_well(workshop.project.job(scripts.WRITES_METRICS))

        assert status.metrics == {"accuracy": 0.5, "errors": 3}

    @case(Capability.TRAIN)
    def test_a_run_that_writes_no_model_has_no_artifact(self, workshop: Workshop) -> None:
        status = workshop.run_well(workshop.project.job(scripts.WRITES_NOTHING))

        assert status.artifact is None

    @case(Capability.TRAIN)
    def test_the_same_operation_submitted_twice_is_one_job(self, workshop: Workshop) -> None:
        operation = workshop.make_operation()
        spec = workshop.project.job(scripts.WRITES_NOTHING)
        trainer, deadline = workshop.trainer, workshop.deadline

        first = trainer.submit(spec, operation, deadline=deadline)
        second = trainer.submit(spec, operation, deadline=deadline)
        end_of_job(trainer, first, deadline)
        third = trainer.submit(spec, operation, deadline=deadline)

        assert first == second == third
        assert trainer.status(first, deadline=deadline).state is JobState.SUCCEEDED

    @case(Capability.TRAIN)
    def test_a_name_held_by_another_operation_is_a_conflict(self, workshop: Workshop) -> None:
        operation = workshop.make_operation()
        other = twin(operation)
        spec = workshop.project.job(scripts.WRITES_NOTHING)
        workshop.trainer.submit(spec, operation, deadline=workshop.deadline)

        with pytest.raises(ResourceConflict):
            workshop.trainer.submit(spec, other, deadline=workshop.deadline)

        found = workshop.trainer.find(other, deadline=workshop.deadline)
        assert not isinstance(found, Found), "the job of another operation is not ours"

    @case(Capability.TRAIN)
    def test_find_tells_a_submitted_job_from_none(self, workshop: Workshop) -> None:
        operation = workshop.make_operation()
        trainer, deadline = workshop.trainer, workshop.deadline

        assert trainer.find(operation, deadline=deadline) == Absent()
        handle = trainer.submit(
            workshop.project.job(scripts.WRITES_NOTHING), operation, deadline=deadline
        )
        assert trainer.find(operation, deadline=deadline) == Found(handle)
        end_of_job(trainer, handle, deadline)
        assert trainer.find(operation, deadline=deadline) == Found(handle)

    @case(Capability.TRAIN)
    def test_a_job_that_nobody_submitted_is_not_found(self, workshop: Workshop) -> None:
        name = workshop.make_operation().resource

        with pytest.raises(ResourceNotFound):
            workshop.trainer.status(JobHandle(name, name), deadline=workshop.deadline)

    @case(Capability.TRAIN)
    def test_a_failing_script_fails_the_job_with_its_reason(self, workshop: Workshop) -> None:
        status = workshop.run(workshop.project.job(scripts.FAILS))

        assert status.state is JobState.FAILED
        assert "the seventh digit is missing" in (status.reason or "")
        assert status.cause is FailureCause.USER_CODE
        assert status.artifact is None

    @case(Capability.TRAIN)
    def test_a_job_ends_at_its_longest_run_time(self, workshop: Workshop) -> None:
        status = workshop.run(workshop.project.job(scripts.WAITS, max_runtime=timedelta(seconds=1)))

        assert status.state in {JobState.FAILED, JobState.STOPPED}
        assert status.cause is FailureCause.MAX_RUNTIME

    @case(Capability.TRAIN, Capability.LOGS)
    def test_logs_come_in_order_from_any_cursor(self, workshop: Workshop) -> None:
        handle = workshop.submit(workshop.project.job(scripts.PRINTS_LINES))
        trainer, deadline = workshop.trainer, workshop.deadline
        end_of_job(trainer, handle, deadline)

        pages = _pages(trainer, handle, None, deadline)
        again = _pages(trainer, handle, pages[0].cursor, deadline)

        printed = [line for page in pages for line in page.lines if line.startswith("line ")]
        assert printed == [f"line {number}" for number in range(2500)]
        assert all(len(page.lines) <= 1000 for page in pages)
        assert [line for page in again for line in page.lines] == [
            line for page in pages[1:] for line in page.lines
        ]

    @case(Capability.TRAIN, Capability.LOGS, Capability.STOP)
    def test_logs_show_while_the_job_runs(self, workshop: Workshop) -> None:
        handle = workshop.submit(workshop.project.job(scripts.WAITS))
        trainer, deadline = workshop.trainer, workshop.deadline

        page = poll(
            lambda: trainer.logs(handle, after=None, deadline=deadline),
            until=lambda page: "the script waits" in page.lines,
            deadline=deadline,
            pauses=pauses(),
            doing="the wait for a running job's first line",
        )
        assert not page.end
        trainer.stop(handle, deadline=deadline)
        end_of_job(trainer, handle, deadline)

        assert _pages(trainer, handle, page.cursor, deadline)[-1].end

    @case(Capability.TRAIN, Capability.STOP)
    def test_stop_ends_a_running_job(self, workshop: Workshop) -> None:
        handle = workshop.submit(workshop.project.job(scripts.WAITS))
        trainer, deadline = workshop.trainer, workshop.deadline
        poll(
            lambda: trainer.status(handle, deadline=deadline),
            until=lambda status: status.state is JobState.RUNNING,
            deadline=deadline,
            pauses=pauses(),
            doing="the wait for a job to run",
        )

        trainer.stop(handle, deadline=deadline)
        trainer.stop(handle, deadline=deadline)

        assert end_of_job(trainer, handle, deadline).state is JobState.STOPPED

    @case(Capability.TRAIN, Capability.STOP)
    def test_stop_leaves_a_finished_job_as_it_is(self, workshop: Workshop) -> None:
        handle = workshop.submit(workshop.project.job(scripts.WRITES_NOTHING))
        trainer, deadline = workshop.trainer, workshop.deadline
        before = end_of_job(trainer, handle, deadline)

        trainer.stop(handle, deadline=deadline)

        assert trainer.status(handle, deadline=deadline) == before

    @case(Capability.TRAIN)
    def test_hyperparameters_arrive_typed_and_as_arguments(self, workshop: Workshop) -> None:
        hyperparameters: dict[str, Hyperparameter] = {
            "epochs": 3,
            "kernel": "rbf kernel",
            "rate": 0.5,
            "shuffle": True,
        }

        workshop.run_well(
            workshop.project.job(scripts.CHECKS_HYPERPARAMETERS, hyperparameters=hyperparameters)
        )

    @case(Capability.TRAIN)
    def test_an_input_file_arrives_in_a_folder(self, workshop: Workshop) -> None:
        file = workshop.project.write("../inputs/digits.csv", "1,2,3").resolve()

        workshop.run_well(workshop.project.job(scripts.CHECKS_FILE_INPUT, inputs={"train": file}))

    @case(Capability.TRAIN)
    def test_an_input_folder_arrives_with_its_files(self, workshop: Workshop) -> None:
        workshop.project.write("../inputs/first.txt", "1")
        workshop.project.write("../inputs/more/second.txt", "2")
        folder = (workshop.project.folder / "../inputs").resolve()

        workshop.run_well(
            workshop.project.job(scripts.CHECKS_FOLDER_INPUT, inputs={"images": folder})
        )

    @case(Capability.TRAIN)
    def test_a_script_finds_the_names_of_both_clouds(self, workshop: Workshop) -> None:
        workshop.run_well(workshop.project.job(scripts.CHECKS_NAMES, hyperparameters={"epochs": 3}))

    @case(Capability.TRAIN)
    def test_a_script_finds_its_own_variables(self, workshop: Workshop) -> None:
        workshop.run_well(workshop.project.job(scripts.CHECKS_ENV, env={"COLOUR": "dark green"}))

    @case(Capability.TRAIN)
    def test_a_script_finds_the_files_beside_it(self, workshop: Workshop) -> None:
        workshop.project.write("steps.py", "FACTOR = 2")
        workshop.project.write("parts/__init__.py", "")
        workshop.project.write("parts/more.py", "FACTOR = 3")
        workshop.project.write("notes.txt", "beside the script")

        workshop.run_well(workshop.project.job(scripts.CHECKS_CODE))

    @case(Capability.TRAIN, Capability.ACCELERATOR)
    def test_a_job_that_takes_any_accelerator_runs(self, workshop: Workshop) -> None:
        workshop.run_well(
            workshop.project.job(
                scripts.WRITES_NOTHING, resources=Resources(accelerator=Accelerator(auto=True))
            )
        )


def _pages(
    trainer: Trainer, handle: JobHandle, after: str | None, deadline: Deadline
) -> list[LogPage]:
    """Every page from a cursor to the end of an ended job's log."""
    pages = [trainer.logs(handle, after=after, deadline=deadline)]
    while not pages[-1].end:
        deadline.check("the reading of a log")
        pages.append(trainer.logs(handle, after=pages[-1].cursor, deadline=deadline))
    return pages
