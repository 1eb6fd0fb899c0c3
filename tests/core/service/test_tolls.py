"""What predictions are charged, on a provider that counts the requests it answers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from freelane.errors import ProviderUnreachable, QuotaExceeded, RateLimited, StateError
from freelane.model.budget import Budget
from freelane.model.endpoint import RateLimits
from freelane.model.estimate import Estimate, Metered
from freelane.model.prediction import PredictionRequest
from freelane.model.quota import (
    Kind,
    Overage,
    Period,
    Price,
    QuotaKey,
    Unit,
    WindowKind,
)
from freelane.model.spending import Exhausted, Policy, Spending
from freelane.quota import ledger
from freelane.quota.cell import Balance
from freelane.quota.window import cells
from freelane.service.prediction import PredictionService
from freelane.service.tolls import Tolls

USD = 10**9
ROW = PredictionRequest([[1.0]])


class Asker:
    """One Client that predicts."""

    def __init__(self, house, endpoint, transport):
        tolls = Tolls(house.workspace, house.accounting)
        self.house, self.endpoint = house, endpoint
        self.service = PredictionService(house.workspace, transport, tolls)

    def predict(self, *, seconds=60.0):
        deadline = self.house.workspace.deadline(seconds)
        return self.service.predict(self.endpoint, ROW, deadline=deadline)

    def until_refused(self):
        for answered in range(10_000):
            try:
                self.predict()
            except QuotaExceeded as refused:
                return answered, refused
        raise AssertionError


@pytest.fixture
def asker(new_process, cloud, script, endpoint_spec, model):
    """Start a Client with an endpoint at the cloud."""
    started = []

    def start(spending=Spending(), rate=None, **options) -> Asker:  # noqa: B008 - frozen
        house = new_process(spending=spending, **options)
        endpoint = house.serving.deploy(
            replace(endpoint_spec, rate=rate or RateLimits()),
            model,
            provider="cloud",
            spec_hash="h1",
            deadline=house.workspace.deadline(),
            wait=True,
        )
        started.append(Asker(house, endpoint, script.Line([cloud])))
        return started[-1]

    yield start
    for one in started:
        one.service.close()


@pytest.fixture
def balance(store, clock, script):
    def look(quota, *, subject="", provider="cloud") -> Balance:
        window = replace(script.allowance("x.y", 1).window, skew_s=0)
        (cell,) = cells(str(QuotaKey(provider, quota, subject)), window, clock.now())
        with store.read() as connection:
            return ledger.glance(connection, [cell], clock.now())[cell]

    return look


@pytest.fixture
def five_free(cloud, script):
    cloud.quotas = (
        *(row for row in cloud.quotas if row.meter != "cloud.requests"),
        script.allowance("cloud.requests", 5, Unit.REQUESTS),
    )


def test_no_more_is_sent_than_is_free(asker, cloud, five_free, balance):
    one = asker()
    answered, refused = one.until_refused()
    assert (answered, cloud.requests) == (5, 5)
    assert refused.quota_id == "cloud/requests"
    one.service.close()
    assert balance("requests") == Balance(5, 0)


def test_two_clients_share_what_is_free(asker, cloud, five_free):
    first = asker()
    second = asker()
    total = first.until_refused()[0] + second.until_refused()[0]
    first.service.close()
    total += second.until_refused()[0]
    assert total == cloud.requests <= 5


def test_what_a_client_holds_and_did_not_use_is_given_back_when_it_closes(asker, balance):
    one = asker()
    for _ in range(7):
        one.predict()
    one.service.close()
    assert balance("requests") == Balance(7, 0)


def test_a_reply_that_was_lost_counts(asker, cloud, balance):
    one = asker()

    def lose(call):
        if call == "predict":
            raise ProviderUnreachable("reset", provider="cloud")

    cloud.after = lose
    with pytest.raises(ProviderUnreachable):
        one.predict()
    one.service.close()
    assert cloud.requests == 1
    assert balance("requests") == Balance(1, 0)


def test_what_is_refused_is_not_sent(asker, cloud, five_free):
    one = asker()
    one.until_refused()
    before = cloud.requests
    with pytest.raises(QuotaExceeded):
        one.predict()
    assert cloud.requests == before


def test_the_endpoints_rate_is_held_for_a_provider_that_does_not_hold_it(asker, cloud, clock):
    one = asker(rate=RateLimits(per_minute=3))
    answered, refused = one.until_refused()
    assert answered == 3
    assert "requests to cloud/digits per minute" in refused.message
    assert refused.quota_id == "cloud/rate.minute@me/digits"
    clock.advance(timedelta(minutes=2))
    one.predict()


def test_waiting_goes_on_when_the_minute_lets_it(asker, cloud, clock):
    one = asker(Spending(exhausted=Exhausted.WAIT), rate=RateLimits(per_minute=3))
    start = clock.now()
    for _ in range(4):
        one.predict(seconds=600)
    assert cloud.requests == 4
    assert timedelta(seconds=60) <= clock.now() - start < timedelta(seconds=130)


def test_waiting_is_bounded_by_the_deadline(asker, clock):
    one = asker(Spending(exhausted=Exhausted.WAIT), rate=RateLimits(per_minute=1))
    one.predict()
    with pytest.raises(QuotaExceeded):
        one.predict(seconds=10)


def paid_by_request(cloud, script):
    """No allowance covers a request, and each costs a tenth of a dollar."""
    cloud.quotas = tuple(row for row in cloud.quotas if row.meter != "cloud.requests")
    cloud.prices["cloud.requests"] = replace(
        script.PRICES["cloud.endpoint"], nano_usd=USD // 10, per=1
    )


def test_what_is_paid_for_waits_for_its_rate_too(asker, cloud, script, clock, balance):
    paid_by_request(cloud, script)
    ten = Budget.parse("10 USD/month")
    waiting = Spending(policy=Policy.BUDGET, project_budget=ten, exhausted=Exhausted.WAIT)
    one = asker(waiting, rate=RateLimits(per_minute=3))
    start = clock.now()
    for _ in range(4):
        one.predict(seconds=600)
    assert cloud.requests == 4
    assert timedelta(seconds=60) <= clock.now() - start < timedelta(seconds=130)
    assert balance("spent").used == USD * 4 // 10
    with pytest.raises(QuotaExceeded, match="1 request asked, 0 requests of 3 requests left"):
        [one.predict(seconds=10) for _ in range(4)]


def test_no_wait_is_for_what_no_time_brings(asker, cloud, script, clock):
    paid_by_request(cloud, script)
    one = asker(Spending(exhausted=Exhausted.WAIT), rate=RateLimits(per_minute=3))
    start = clock.now()
    with pytest.raises(QuotaExceeded, match="no free allowance covers it"):
        one.predict(seconds=600)
    assert clock.now() == start


def test_room_that_came_meanwhile_is_tried_at_once(asker, cloud, script, clock, monkeypatch):
    paid_by_request(cloud, script)
    ten = Budget.parse("10 USD/month")
    waiting = Spending(policy=Policy.BUDGET, project_budget=ten, exhausted=Exhausted.WAIT)
    one = asker(waiting, rate=RateLimits(per_minute=1))
    one.predict()
    consent = one.house.accounting.guard.consent

    def slow(demands):
        try:
            return consent(demands)
        except QuotaExceeded:
            clock.advance(timedelta(minutes=2))
            raise

    monkeypatch.setattr(one.house.accounting.guard, "consent", slow)
    one.predict(seconds=600)
    assert cloud.requests == 2


@pytest.mark.parametrize(
    "error", [ProviderUnreachable("reset", provider="cloud"), KeyboardInterrupt()]
)
def test_what_fails_after_it_was_sent_counts_at_once_and_a_minute_long(
    error, asker, cloud, script, clock, balance
):
    paid_by_request(cloud, script)
    ten = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("10 USD/month"))
    one = asker(ten, rate=RateLimits(per_minute=1))

    def lose(call):
        if call == "predict":
            raise error

    cloud.after = lose
    with pytest.raises(type(error)):
        one.predict()
    assert balance("spent") == Balance(USD // 10, 0)
    cloud.after = lambda call: None
    clock.advance(timedelta(seconds=61))
    one.predict()


def test_an_answer_is_not_lost_with_the_database(asker, cloud, script, clock, balance):
    paid_by_request(cloud, script)
    ten = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("10 USD/month"))
    one = asker(ten)

    def fail():
        raise StateError("the disk is full")

    def break_it(call):
        if call == "predict":
            one.house.store.before = fail

    cloud.after = break_it
    assert one.predict().prediction.predictions == [1]
    one.house.store.before = lambda: None
    clock.advance(timedelta(minutes=6))
    one.house.accounting.expire()
    assert balance("spent") == Balance(USD // 10, 0)


def test_a_refusal_names_the_limit_that_was_learned(asker, cloud, thirty_a_minute, monkeypatch):
    def refuse(handle, reply):
        raise RateLimited("slow down", provider="cloud", quota_id="minute", limit=0)

    one = asker()
    with monkeypatch.context() as patched:
        patched.setattr(cloud, "parse", refuse)
        with pytest.raises(RateLimited):
            one.predict()
    with pytest.raises(QuotaExceeded, match="is limited to 0 requests") as refused:
        one.predict()
    assert refused.value.limit == 0


def test_a_days_limit_is_not_waited_for(asker):
    one = asker(Spending(exhausted=Exhausted.WAIT), rate=RateLimits(per_day=1))
    one.predict()
    with pytest.raises(QuotaExceeded, match="per day"):
        one.predict(seconds=None)


def test_beyond_what_is_free_the_budget_pays_request_by_request(
    asker, cloud, five_free, script, balance
):
    price = script.PRICES["cloud.training"]
    cloud.prices["cloud.requests"] = Price(
        nano_usd=100_000_000, per=1, source=price.source, as_of=price.as_of
    )
    one = asker(Spending(policy=Policy.BUDGET, project_budget=Budget.parse("0.30 USD/month")))
    answered, refused = one.until_refused()
    assert answered == cloud.requests == 8
    assert "project budget" in refused.message
    assert balance("budget.project", subject="me/digits", provider="freelane").used == 0.3 * USD


def test_counting_lets_every_request_through(asker, cloud, five_free, balance):
    one = asker(Spending(policy=Policy.COUNT))
    for _ in range(9):
        one.predict()
    one.service.close()
    assert balance("requests") == Balance(9, 0)


def test_tokens_are_settled_by_what_the_answer_says(asker, cloud, script, balance, monkeypatch):
    tokens = Metered(what="tokens", meter="cloud.tokens", unit=Unit.TOKENS, amount=100)
    cloud.estimates["prediction"] = Estimate(lines=(script.REQUEST, tokens))
    cloud.quotas = (*cloud.quotas, script.allowance("cloud.tokens", 1000, Unit.TOKENS))
    parse = cloud.parse

    def counted(handle, reply):
        return replace(parse(handle, reply), usage={"cloud.tokens": 30})

    monkeypatch.setattr(cloud, "parse", counted)
    one = asker()
    for _ in range(4):
        one.predict()
    one.service.close()
    assert balance("tokens") == Balance(120, 0)
    assert balance("requests") == Balance(4, 0)


def test_a_request_that_costs_nothing_charges_nothing(asker, cloud, store):
    cloud.estimates["prediction"] = Estimate()
    one = asker()
    for _ in range(3):
        one.predict()
    with store.read() as connection:
        written = connection.exec_driver_sql(
            "SELECT count(*) FROM quota_postings WHERE key = 'cloud/requests'"
        ).scalar_one()
    assert written == 0


def test_a_limit_that_a_refusal_tells_lowers_ours_for_good(asker, cloud, monkeypatch, clock):
    refused = RateLimited("slow down", provider="cloud", quota_id="requests", limit=2)

    def refuse(handle, reply):
        raise refused

    one = asker()
    with monkeypatch.context() as patched:
        patched.setattr(cloud, "parse", refuse)
        with pytest.raises(RateLimited):
            one.predict()
    one.service.close()  # it counts: it was sent
    answered, error = asker().until_refused()
    assert answered == 1
    assert error.used == 2


def test_what_a_client_holds_in_memory_is_not_spent_past_a_lowered_limit(asker, cloud, monkeypatch):
    one = asker()
    for _ in range(40):  # it holds a block by now
        one.predict()

    def refuse(handle, reply):
        raise RateLimited("slow down", provider="cloud", quota_id="requests", limit=41)

    with monkeypatch.context() as patched:
        patched.setattr(cloud, "parse", refuse)
        with pytest.raises(RateLimited):
            one.predict()
    assert one.until_refused()[0] == 0


def test_a_limit_that_is_not_ours_is_passed_over(asker, cloud, monkeypatch):
    def refuse(handle, reply):
        raise RateLimited("slow down", provider="cloud", quota_id="other", limit=0)

    one = asker()
    with monkeypatch.context() as patched:
        patched.setattr(cloud, "parse", refuse)
        with pytest.raises(RateLimited):
            one.predict()
    one.predict()


@pytest.fixture
def thirty_a_minute(cloud, script):
    """The provider answers no more than that, which says nothing of what it bills."""
    row = script.allowance("cloud.requests", 30, Unit.REQUESTS)
    window = replace(row.window, kind=WindowKind.SLIDING, period=Period.MINUTE)
    rate = replace(row, id="minute", kind=Kind.RATE, window=window, overage=Overage.REFUSES)
    cloud.quotas = (*cloud.quotas, rate)


def test_a_rate_that_refuses_makes_nothing_free_beyond_the_allowance(
    asker, cloud, five_free, thirty_a_minute
):
    assert asker().until_refused()[0] == cloud.requests == 5


def test_a_rate_that_refuses_makes_nothing_free_that_has_a_price(
    asker, cloud, script, thirty_a_minute, balance
):
    cloud.quotas = tuple(
        row for row in cloud.quotas if (row.meter, row.kind) != ("cloud.requests", Kind.ALLOWANCE)
    )
    cloud.prices["cloud.requests"] = replace(
        script.PRICES["cloud.endpoint"], nano_usd=USD // 10, per=1
    )
    assert asker().until_refused()[0] == 0
    budget = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("1 USD/month"))
    one = asker(budget)
    assert one.until_refused()[0] == 10
    assert balance("spent").used == USD
