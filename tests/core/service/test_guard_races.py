"""What happens between looking and holding."""

from datetime import timedelta

import pytest

from freelane.errors import QuotaExceeded

HOUR_MS = 3_600_000


def test_what_another_took_meanwhile_is_refused_and_nothing_is_made(
    new_process, cloud, script, job_spec
):
    cloud.quotas = (script.allowance("cloud.training", HOUR_MS),)
    house, rival = new_process(), new_process()
    asked = house.accounting.ask_job(house.workspace.resolve("cloud"), job_spec)
    rival.training.submit(
        job_spec, provider="cloud", spec_hash="h1", deadline=rival.workspace.deadline()
    )

    with (
        pytest.raises(QuotaExceeded) as refused,
        house.accounting.noting(asked),
        house.workspace.store.begin() as connection,
    ):
        house.accounting.guard.admit(
            connection,
            asked.demands,
            asked.rule,
            key="another",
            request="h2",
            operation="",
            what=asked.what,
            lease=timedelta(hours=1),
        )

    assert (refused.value.limit, refused.value.used) == (HOUR_MS, HOUR_MS)
    assert refused.value.refusal is not None
    assert cloud.calls == ["submit"]
