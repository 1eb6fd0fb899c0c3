import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.errors import ConfigError
from freelane.model.choice import (
    Framework,
    FrameworkOffers,
    InstanceType,
    choose_framework,
    choose_instance_type,
    version_key,
)
from freelane.model.resources import ANY_RESOURCES, Accelerator, Resources

GIB = 2**30
SMALL = InstanceType(name="small", cpus=2, memory_bytes=4 * GIB, nano_usd_per_hour=50)
LARGE = InstanceType(name="large", cpus=8, memory_bytes=32 * GIB, nano_usd_per_hour=400)
DEAL = InstanceType(name="deal", cpus=4, memory_bytes=8 * GIB, nano_usd_per_hour=40)
CARD = InstanceType(
    name="card",
    cpus=4,
    memory_bytes=16 * GIB,
    accelerator=Accelerator(1, "T4"),
    nano_usd_per_hour=9,
)
OFFERS = [CARD, LARGE, SMALL, DEAL]


def choose(wanted, offers=OFFERS, free=()):
    return choose_instance_type(wanted, offers, free=lambda o: o in free, provider="acme").name


def test_the_smallest_free_type_wins_over_cheaper_ones():
    assert choose(ANY_RESOURCES, free=[LARGE, SMALL]) == "small"


def test_a_free_type_that_is_too_small_is_passed_over():
    assert choose(Resources(cpus=3), free=[SMALL, LARGE]) == "large"


def test_without_a_free_type_the_cheapest_that_fits_is_taken():
    assert choose(Resources(cpus=3), offers=[LARGE, DEAL]) == "deal"
    assert choose(Resources(memory_bytes=9 * GIB), offers=[SMALL, LARGE, DEAL]) == "large"


@pytest.mark.parametrize("card", ["1", "T4:1", "t4:1"])
def test_a_named_card_takes_a_type_that_has_it(card):
    assert choose(Resources(accelerator=Accelerator.parse(card)), free=[SMALL]) == "card"


def test_auto_asks_for_no_card():
    offers = [SMALL, LARGE]
    assert choose(Resources(accelerator=Accelerator(auto=True)), offers) == "small"


def test_what_no_type_has_is_refused_by_name():
    wanted = Resources(cpus=64, memory_bytes=GIB, accelerator=Accelerator(2, "A100"))
    with pytest.raises(ConfigError, match=r"64 cpus, 1 GiB of memory, accelerator A100:2"):
        choose(wanted)
    with pytest.raises(ConfigError, match="no instance type has anything"):
        choose(ANY_RESOURCES, offers=[])


def test_an_unknown_price_is_never_taken_for_none():
    unpriced = InstanceType(name="new", cpus=64, memory_bytes=GIB)
    with pytest.raises(ConfigError, match="no price is known for new"):
        choose(Resources(cpus=64), offers=[*OFFERS, unpriced])
    assert choose(Resources(cpus=64), offers=[unpriced], free=[unpriced]) == "new"


@given(st.permutations(OFFERS), st.sets(st.sampled_from(range(4))), st.floats(1, 8))
def test_the_choice_does_not_hang_on_the_order_of_the_offers(offers, free, cpus):
    gratis = [OFFERS[i] for i in free]
    chosen = choose(Resources(cpus=cpus), offers, gratis)
    assert chosen == choose(Resources(cpus=cpus), OFFERS, gratis)


@pytest.mark.parametrize(
    "text",
    [
        "sklearn",
        "sklearn==1.4.2",
        "torch==2.3.0+cu121",
        "sklearn==1.2-1",
        "torch==2.0.0rc1",
        "x==1.0.post1",
    ],
)
def test_a_framework_reads_and_writes_the_same_text(text):
    assert str(Framework.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "==1", "sklearn==", "sklearn>=1", "SK", "a==x", "a==1 ", "a==1==2", "a==1;b", "a==٣"],
)
def test_what_is_no_framework_is_refused(text):
    with pytest.raises(ConfigError, match="write a name"):
        Framework.parse(text)


def frameworks(training, serving):
    return FrameworkOffers(training={"sklearn": training}, serving={"sklearn": serving})


BOTH = frameworks(["1.2-1", "1.4.2", "1.10.0", "1.4.0", "2.0"], ["1.4.0", "1.4.2", "1.10.0", "3.0"])


def test_only_versions_for_training_and_serving_are_on_offer_oldest_first():
    assert BOTH.both("sklearn") == ["1.4.0", "1.4.2", "1.10.0"]
    assert BOTH.both("torch") == []


@pytest.mark.parametrize(
    ("installed", "version"),
    [
        (None, "1.10.0"),
        ("1.4.2", "1.4.2"),
        ("1.4.1", "1.4.0"),
        ("1.4.9", "1.4.2"),
        ("1.10.0", "1.10.0"),
        ("1.5.0", "1.4.2"),
        ("9.0", "1.10.0"),
        ("1.3.0", "1.4.0"),
        ("1.10", "1.10.0"),
    ],
)
def test_the_nearest_version_to_the_installed_one_is_taken(installed, version):
    chosen = choose_framework(Framework("sklearn"), BOTH, installed=installed, provider="acme")
    assert chosen == Framework("sklearn", version)


def test_a_pin_on_offer_is_taken_whatever_is_installed():
    pin = Framework("sklearn", "1.4.0")
    assert choose_framework(pin, BOTH, installed="1.10.0", provider="acme") == pin


def test_a_pin_that_only_training_offers_is_refused_with_the_list():
    with pytest.raises(ConfigError) as caught:
        choose_framework(Framework("sklearn", "2.0"), BOTH, installed=None, provider="acme")
    assert str(caught.value).endswith("sklearn==1.4.0, sklearn==1.4.2, sklearn==1.10.0")


def test_a_framework_that_is_not_on_offer_is_refused_with_what_is():
    with pytest.raises(ConfigError, match="acme offers no framework 'torch'; it offers sklearn"):
        choose_framework(Framework("torch"), BOTH, installed=None, provider="acme")
    with pytest.raises(ConfigError, match="it offers none"):
        choose_framework(
            Framework("torch"), frameworks(["1"], ["2"]), installed=None, provider="acme"
        )


@given(st.integers(0, 1000))
def test_builds_of_one_version_keep_their_order(seed):
    builds = ["1.2-3", "1.2-1", "1.2-2"]
    random.Random(seed).shuffle(builds)
    assert frameworks(builds, builds).both("sklearn") == ["1.2-1", "1.2-2", "1.2-3"]


@pytest.mark.parametrize(
    ("version", "key"),
    [("1.10", (1, 10)), ("2.3.0+cu121", (2, 3, 0)), ("2.0.0rc1", (2, 0, 0)), ("x", ())],
)
def test_a_version_is_ordered_by_its_leading_numbers(version, key):
    assert version_key(version) == key
