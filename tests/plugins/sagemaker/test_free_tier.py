"""Every fact about AWS's free tier, by its number."""

from datetime import UTC, date, datetime

import pytest

from freelane.model.estimate import Account
from freelane.model.quota import Confidence, Kind, Overage, Period, Plan, Unit, WindowKind
from freelane.quota.catalogue.catalog import load, stale
from freelane.quota.eligibility import Eligible, Ineligible, Undecided, judge

AS_OF = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = 3_600_000
GB_MONTH = 10**9 * 730
XLARGE = {"ml.m4.xlarge", "ml.m5.xlarge"}

SAGEMAKER = [
    ("notebooks", "sagemaker.notebook", Unit.MS, 250 * HOUR, {"ml.t2.medium", "ml.t3.medium"}),
    ("training", "sagemaker.training", Unit.MS, 50 * HOUR, XLARGE),
    ("realtime", "sagemaker.endpoint", Unit.MS, 125 * HOUR, XLARGE),
    ("serverless", "sagemaker.serverless", Unit.MS, 150_000 * 1000, None),
    ("data-wrangler", "sagemaker.data_wrangler", Unit.MS, 25 * HOUR, {"ml.m5.4xlarge"}),
    ("tensorboard", "sagemaker.tensorboard", Unit.MS, 300 * HOUR, {"ml.r5.large"}),
    ("canvas", "sagemaker.canvas", Unit.MS, 160 * HOUR, None),
    ("feature-store-writes", "sagemaker.feature_store.writes", Unit.COUNT, 10_000_000, None),
    ("feature-store-reads", "sagemaker.feature_store.reads", Unit.COUNT, 10_000_000, None),
    (
        "feature-store-storage",
        "sagemaker.feature_store.storage",
        Unit.BYTE_HOURS,
        25 * GB_MONTH,
        None,
    ),
]
S3 = [
    ("s3-storage", "s3.storage", Unit.BYTE_HOURS, 5 * GB_MONTH),
    ("s3-get", "s3.get", Unit.REQUESTS, 20_000),
    ("s3-put", "s3.put", Unit.REQUESTS, 2_000),
]
ALWAYS = [
    ("lambda-requests", "lambda.requests", Unit.REQUESTS, 1_000_000),
    ("lambda-compute", "lambda.compute", Unit.GIB_MS, 400_000 * 1000),
    ("cloudwatch-metrics", "cloudwatch.metrics", Unit.COUNT, 10),
    ("cloudwatch-alarms", "cloudwatch.alarms", Unit.COUNT, 10),
    ("cloudwatch-logs", "cloudwatch.logs", Unit.BYTES, 5 * 10**9),
]


@pytest.fixture(scope="module")
def quotas():
    return {quota.id: quota for quota in load("freelane_sagemaker.free_tier", "sagemaker")}


def test_no_other_row_ships(quotas):
    listed = [row[0] for row in (*SAGEMAKER, *S3, *ALWAYS)] + ["credits"]
    assert sorted(quotas) == sorted(listed)


def test_every_row_is_official_dated_and_of_one_account(quotas):
    for quota in quotas.values():
        assert quota.source.startswith("https://aws.amazon.com/")
        assert quota.as_of == AS_OF
        assert quota.confidence is Confidence.OFFICIAL
        assert quota.overage is Overage.BILLS
        assert quota.scope == "account"
        assert stale(quota, AS_OF) is None


@pytest.mark.parametrize(("name", "meter", "unit", "limit", "types"), SAGEMAKER)
def test_what_sagemaker_gives_in_a_calendar_month(quotas, name, meter, unit, limit, types):
    quota = quotas[name]
    assert (quota.meter, quota.unit, quota.limit) == (meter, unit, limit)
    assert quota.kind is Kind.ALLOWANCE
    assert quota.match == ({} if types is None else {"instance_type": types})
    assert (quota.window.kind, quota.window.period) == (WindowKind.CALENDAR, Period.MONTH)
    assert quota.window.tz == "UTC"


@pytest.mark.parametrize(("name", "meter", "unit", "limit"), [*S3, *ALWAYS])
def test_what_the_services_around_it_give_in_a_calendar_month(quotas, name, meter, unit, limit):
    quota = quotas[name]
    assert (quota.meter, quota.unit, quota.limit, quota.match) == (meter, unit, limit, {})
    assert (quota.window.kind, quota.window.period) == (WindowKind.CALENDAR, Period.MONTH)
    assert quota.window.tz == "UTC"


@pytest.mark.parametrize("name", [row[0] for row in SAGEMAKER])
def test_sagemaker_gives_to_legacy_accounts_for_two_months_from_the_first_use(quotas, name):
    quota = quotas[name]
    for first_used, verdict in (
        ("never", Eligible),
        (date(2026, 11, 22), Eligible),
        (date(2026, 9, 23), Eligible),
        (date(2026, 9, 22), Ineligible),
        (None, Undecided),
    ):
        account = Account(plan=Plan.LEGACY, first_used=first_used)
        assert isinstance(judge(quota, account, NOW), verdict), first_used
    for plan in (Plan.FREE, Plan.PAID):
        assert isinstance(judge(quota, Account(plan=plan, first_used="never"), NOW), Ineligible)
    assert isinstance(judge(quota, Account(first_used="never"), NOW), Undecided)


@pytest.mark.parametrize("name", [row[0] for row in S3])
def test_s3_gives_to_legacy_accounts_for_twelve_months(quotas, name):
    account = Account(plan=Plan.LEGACY, opened=date(2025, 7, 14))
    assert isinstance(judge(quotas[name], account, datetime(2026, 7, 13, tzinfo=UTC)), Eligible)
    assert isinstance(judge(quotas[name], account, datetime(2026, 7, 14, tzinfo=UTC)), Ineligible)
    new = Account(plan=Plan.FREE, opened=date(2026, 11, 1))
    assert isinstance(judge(quotas[name], new, NOW), Ineligible)


@pytest.mark.parametrize("name", [row[0] for row in ALWAYS])
def test_lambda_and_cloudwatch_give_to_everybody_always(quotas, name):
    for account in (Account(), Account(plan=Plan.LEGACY), Account(plan=Plan.PAID)):
        assert isinstance(judge(quotas[name], account, NOW), Eligible)


def test_a_new_account_has_up_to_200_dollars_for_six_months(quotas):
    quota = quotas["credits"]
    assert (quota.kind, quota.meter, quota.unit) == (Kind.CREDIT, "*", Unit.NANO_USD)
    assert quota.limit == 200 * 10**9
    assert "100 USD at once" in quota.note
    assert quota.window.kind is WindowKind.LIFETIME
    for plan in (Plan.FREE, Plan.PAID):
        for opened, verdict in (
            (date(2026, 11, 22), Eligible),
            (date(2026, 5, 23), Eligible),
            (date(2026, 5, 22), Ineligible),
            (date(2025, 7, 14), Ineligible),
        ):
            assert isinstance(judge(quota, Account(plan=plan, opened=opened), NOW), verdict), opened
    on_the_first_day = Account(plan=Plan.FREE, opened=date(2025, 7, 15))
    assert isinstance(judge(quota, on_the_first_day, datetime(2025, 8, 1, tzinfo=UTC)), Eligible)
    legacy = Account(plan=Plan.LEGACY, opened=date(2025, 7, 1))
    assert isinstance(judge(quota, legacy, datetime(2025, 8, 1, tzinfo=UTC)), Ineligible)


def test_only_the_free_types_are_covered(quotas):
    training = quotas["training"]
    assert training.covers("sagemaker.training", {"instance_type": "ml.m5.xlarge"})
    assert not training.covers("sagemaker.training", {"instance_type": "ml.m5.2xlarge"})
    assert not training.covers("sagemaker.endpoint", {"instance_type": "ml.m5.xlarge"})
