"""Every fact about Google's free tiers, by its number."""

from datetime import UTC, date, datetime

import pytest

from freelane.model.estimate import Account
from freelane.model.quota import (
    Billing,
    Confidence,
    Kind,
    Overage,
    Period,
    Plan,
    Unit,
    WindowKind,
)
from freelane.quota.catalogue.catalog import load
from freelane.quota.eligibility import Eligible, Ineligible, Undecided, judge
from freelane.quota.window import next_reset

PACKAGE = "freelane_vertex.free_tier"
AS_OF = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PACIFIC = "America/Los_Angeles"
GB_MONTH = 10**9 * 730

RUN = [
    ("requests", "cloudrun.requests", Unit.REQUESTS, 2_000_000, "request"),
    ("request-cpu", "cloudrun.cpu", Unit.VCPU_MS, 180_000 * 1000, "request"),
    ("request-memory", "cloudrun.memory", Unit.GIB_MS, 360_000 * 1000, "request"),
    ("instance-cpu", "cloudrun.cpu", Unit.VCPU_MS, 240_000 * 1000, "instance"),
    ("instance-memory", "cloudrun.memory", Unit.GIB_MS, 450_000 * 1000, "instance"),
]
DAYS = [
    ("gemini-3.1-flash-lite", 500),
    ("gemini-3.5-flash-lite", 500),
    ("gemini-3-flash-preview", 20),
    ("gemini-3.5-flash", 20),
    ("gemini-2.5-flash", 20),
    ("gemini-2.5-flash-lite", 20),
    ("gemini-2.5-pro", 0),
    ("gemini-3-pro-preview", 0),
    ("gemini-3.1-pro-preview", 0),
]
MINUTES = [("gemini-3.5-flash-lite", 15), ("gemini-2.5-flash", 5), ("gemini-2.5-flash-lite", 10)]


def rows(plugin: str):
    return {quota.id: quota for quota in load(PACKAGE, plugin)}


def limits(model: str, period: Period, meter: str = "gemini.requests") -> list[int]:
    return [
        quota.limit
        for quota in load(PACKAGE, "gemini")
        if quota.covers(meter, {"model": model}) and quota.window.period is period
    ]


@pytest.mark.parametrize("plugin", ["vertex", "cloudrun"])
def test_the_clouds_rows_are_official_dated_pacific_and_of_the_billing_account(plugin):
    for quota in load(PACKAGE, plugin):
        assert quota.source.startswith("https://cloud.google.com/")
        assert quota.as_of == AS_OF
        assert quota.confidence is Confidence.OFFICIAL
        assert quota.overage is Overage.BILLS
        assert quota.scope == "billing account"
        assert quota.window.tz == PACIFIC


def test_vertex_itself_has_nothing_beyond_what_the_cloud_gives():
    assert all(quota.provider == "google" for quota in load(PACKAGE, "vertex"))
    assert sorted(rows("vertex")) == ["cloud-build", "gke-credit", "storage", "trial-credit"]


def test_no_other_row_of_cloud_run_ships():
    own = [quota.id for quota in load(PACKAGE, "cloudrun") if quota.provider == "cloudrun"]
    assert sorted(own) == sorted(row[0] for row in RUN)


@pytest.mark.parametrize(("name", "meter", "unit", "limit", "billing"), RUN)
def test_what_cloud_run_gives_in_either_billing(name, meter, unit, limit, billing):
    quota = rows("cloudrun")[name]
    assert (quota.meter, quota.unit, quota.limit) == (meter, unit, limit)
    assert quota.match["billing"] == {billing}
    assert (quota.window.kind, quota.window.period) == (WindowKind.CALENDAR, Period.MONTH)
    assert isinstance(judge(quota, Account(), NOW), Eligible)


def test_a_region_of_tier_2_is_not_counted_on():
    quota = rows("cloudrun")["requests"]
    assert quota.covers("cloudrun.requests", {"billing": "request", "region": "us-central1"})
    assert not quota.covers("cloudrun.requests", {"billing": "request", "region": "europe-west3"})
    assert not quota.covers("cloudrun.requests", {"billing": "request"})


def test_the_trial_is_300_dollars_once_for_90_days():
    quota = rows("vertex")["trial-credit"]
    assert (quota.kind, quota.meter, quota.limit) == (Kind.CREDIT, "*", 300 * 10**9)
    assert quota.window.kind is WindowKind.LIFETIME
    for opened, verdict in (
        (date(2026, 11, 22), Eligible),
        (date(2026, 8, 25), Eligible),
        (date(2026, 8, 24), Ineligible),
        (None, Undecided),
    ):
        assert isinstance(judge(quota, Account(plan=Plan.TRIAL, opened=opened), NOW), verdict)
    paid = Account(plan=Plan.PAID, opened=date(2026, 11, 1))
    assert isinstance(judge(quota, paid, NOW), Ineligible)


def test_the_trial_is_one_counter_for_vertex_and_cloud_run_and_not_geminis():
    assert rows("vertex")["trial-credit"] == rows("cloudrun")["trial-credit"]
    assert "trial-credit" not in rows("gemini")


def test_gke_gives_the_fee_of_one_zonal_or_autopilot_cluster():
    quota = rows("cloudrun")["gke-credit"]
    assert (quota.kind, quota.unit, quota.limit) == (Kind.CREDIT, Unit.NANO_USD, 74_400_000_000)
    assert quota.window.period is Period.MONTH
    assert quota.covers("gke.cluster", {"cluster": "autopilot"})
    assert quota.covers("gke.cluster", {"cluster": "zonal"})
    assert not quota.covers("gke.cluster", {"cluster": "regional"})


def test_cloud_build_gives_2500_minutes_of_its_smallest_machine():
    quota = rows("vertex")["cloud-build"]
    assert (quota.meter, quota.unit, quota.limit) == ("cloudbuild.minutes", Unit.MS, 2500 * 60_000)
    assert quota.match == {"machine_type": {"e2-standard-2"}}


def test_cloud_storage_gives_5_gb_months_in_three_regions_of_the_us():
    quota = rows("vertex")["storage"]
    assert (quota.meter, quota.unit) == ("gcs.storage", Unit.BYTE_HOURS)
    assert quota.limit == 5 * GB_MONTH
    assert quota.match == {"region": {"us-central1", "us-east1", "us-west1"}}


@pytest.mark.parametrize(("model", "limit"), DAYS)
def test_gemini_answers_so_many_requests_a_day(model, limit):
    assert limits(model, Period.DAY) == [limit]


@pytest.mark.parametrize(("model", "limit"), MINUTES)
def test_gemini_answers_so_many_requests_a_minute(model, limit):
    assert limits(model, Period.MINUTE) == [limit]


def test_gemini_reads_so_many_tokens_a_minute():
    assert limits("gemini-2.5-flash", Period.MINUTE, "gemini.input_tokens") == [250_000]


@pytest.mark.parametrize("model", ["gemini-flash-latest", "gemini-flash-lite-latest"])
def test_an_alias_is_not_covered(model):
    assert not any(
        quota.covers("gemini.requests", {"model": model}) for quota in load(PACKAGE, "gemini")
    )


def test_geminis_limits_refuse_and_count_for_each_model_of_a_project():
    for quota in load(PACKAGE, "gemini"):
        assert quota.kind is Kind.RATE
        assert quota.overage is Overage.REFUSES
        assert quota.per == ("model",)
        assert quota.scope == "project, model"
        assert quota.confidence is Confidence.OBSERVED
        assert quota.source.startswith("https://ai.google.dev/")
        assert quota.as_of == AS_OF
        assert quota.note


def test_a_day_of_geminis_ends_at_midnight_in_los_angeles_and_a_minute_slides():
    for quota in load(PACKAGE, "gemini"):
        if quota.window.period is Period.DAY:
            assert quota.window.kind is WindowKind.CALENDAR
            assert next_reset(quota.window, NOW) == datetime(2026, 11, 23, 8, tzinfo=UTC)
        else:
            assert quota.window.kind is WindowKind.SLIDING


def test_linking_billing_ends_what_gemini_gives():
    for quota in load(PACKAGE, "gemini"):
        assert isinstance(judge(quota, Account(billing=Billing.UNLINKED), NOW), Eligible)
        assert isinstance(judge(quota, Account(billing=Billing.LINKED), NOW), Ineligible)
        verdict = judge(quota, Account(), NOW)
        assert isinstance(verdict, Undecided)
        assert verdict.fact == "billing"
