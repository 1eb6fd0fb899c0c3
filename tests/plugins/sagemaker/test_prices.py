from datetime import date

import pytest

from freelane.quota.catalogue.pricing import prices, stale

HOUR = 3_600_000


@pytest.fixture(scope="module")
def book():
    return prices("freelane_sagemaker.prices", "sagemaker")


def test_every_price_says_where_it_is_from_and_as_of_when(book):
    assert book.rates
    for rate in book.rates:
        assert rate.price.source.startswith(
            ("https://aws.amazon.com/", "https://github.com/aws-samples/")
        )
        assert rate.price.as_of <= date(2026, 11, 22)
        assert set(rate.attributes) == {"instance_type", "region"}


@pytest.mark.parametrize("meter", ["sagemaker.training", "sagemaker.endpoint"])
def test_an_hour_of_the_free_tiers_machine_costs_23_cents_in_virginia(book, meter):
    price = book.find(meter, {"instance_type": "ml.m5.xlarge", "region": "us-east-1"})
    assert price.of(HOUR) == 230_000_000
    assert stale(price, date(2026, 11, 22)) is None


def test_what_is_of_2023_says_so(book):
    price = book.find(
        "sagemaker.training", {"instance_type": "ml.g4dn.xlarge", "region": "eu-west-1"}
    )
    assert price.of(HOUR) == 822_000_000
    assert stale(price, date(2026, 11, 22)) == "as of 2023-12-31, 1057 days ago"


@pytest.mark.parametrize(
    "attributes",
    [
        {"instance_type": "ml.m5.xlarge"},
        {"instance_type": "ml.m5.xlarge", "region": "eu-central-1"},
        {"instance_type": "ml.p5.48xlarge", "region": "us-east-1"},
    ],
)
def test_what_no_official_figure_was_found_for_is_unknown(book, attributes):
    assert book.find("sagemaker.training", attributes) is None
