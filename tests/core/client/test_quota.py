"""`client.quota` and `client.prices`, as a program uses them."""

import getpass
from pathlib import Path

import pytest

from freelane import Client
from freelane.errors import ConfigError, ProviderNotFound, ResourceNotFound
from freelane.model.quota import Unit

HOUR = 3_600_000
TOML = """\
name = "tiny"
provider = "till"
[train]
max_runtime = "1h"
"""
TRAIN = "import os\nprint(os.environ['FREELANE_MODEL_DIR'])\n"


@pytest.fixture
def client(work, monkeypatch, install_plugin):
    """A client of a project at Till, a made-up provider that bills."""
    monkeypatch.syspath_prepend(str(install_plugin("freelane-till")))
    (work / "freelane.toml").write_text(TOML)
    (work / "train.py").write_text(TRAIN)
    with Client() as opened:
        yield opened


def row(rows, id="till/training"):  # noqa: A002 - a quota's own word
    return next(row for row in rows if row.id == id)


def test_the_line_of_a_job_counts_what_it_took(client):
    assert row(client.quota.list()).remaining == 2 * HOUR
    client.jobs.train()
    assert row(client.quota.list()).remaining == 3 * HOUR // 2


def test_everything_is_what_installed_plugins_give_too(client):
    assert {row.provider for row in client.quota.list()} == {"till"}
    assert "cloudrun/requests" in {row.id for row in client.quota.list(everything=True)}


def test_no_line_is_listed_twice(client):
    ids = [row.id for row in client.quota.list(everything=True)]
    assert len(ids) == len(set(ids))


def test_one_provider_alone_need_not_be_configured(client):
    assert {row.provider for row in client.quota.list("sagemaker")} == {"sagemaker"}
    with pytest.raises(ProviderNotFound):
        client.quota.list("nowhere")


def test_what_was_used_of_a_provider_that_is_configured_no_more_keeps_its_limit(client):
    client.jobs.train()
    Path("freelane.toml").write_text(TOML.replace("till", "local"))
    with Client() as later:
        left = row(later.quota.list())
    assert (left.used, left.limit) == (HOUR // 2, 2 * HOUR)


def test_a_job_is_explained_by_its_id_its_operation_and_its_name(client):
    job = client.jobs.train()
    told = client.quota.explain(job.id)
    assert [each.kind for each in told] == ["reservation"]
    assert client.quota.explain(job.record.operation) == told
    assert client.quota.explain(job.name) == told
    assert client.quota.explain(told[0].id) == told
    assert [line.unit for line in told[0].lines] == [Unit.MS, Unit.MS]


def test_what_is_no_job_either_is_not_found(client):
    with pytest.raises(ResourceNotFound, match="nothing is recorded under 'nope'"):
        client.quota.explain("nope")


def test_a_job_that_cost_nothing_says_so(client):
    Path("freelane.toml").write_text('name = "tiny"\nprovider = "local"\n')
    with Client() as own:
        job = own.jobs.train()
        with pytest.raises(ResourceNotFound, match=f"nothing was charged or refused for {job.id}"):
            own.quota.explain(job.id)


def test_a_correction_says_who_did_it(client):
    assert client.quota.correct("till/training", HOUR, "the bill says so").used == HOUR
    (told,) = client.quota.explain("till/training")
    assert f"by {getpass.getuser()}@" in told.lines[0].note
    assert "the bill says so" in told.lines[0].note
    assert client.quota.get("till/training").remaining == HOUR
    assert client.quota.rebuild() == []


def test_the_catalogue_of_one_provider(client):
    (only,) = client.quota.catalog("till")
    assert (only.id, only.limit, only.warning, only.unavailable) == (
        "training",
        2 * HOUR,
        None,
        None,
    )


def test_prices_carry_their_source(client):
    (price,) = client.prices("till")
    assert (price.nano_usd, price.per, price.source) == (
        250_000_000,
        HOUR,
        "https://till.example/prices",
    )
    assert len(client.prices()) > 1


def test_a_refresh_wants_a_region(client):
    with pytest.raises(ConfigError, match="no region of cloudrun is configured") as raised:
        client.refresh_prices("cloudrun")
    assert raised.value.hint == "freelane prices refresh cloudrun --region us-central1"


def test_a_refresh_that_cannot_be_asks_for_no_region_first(client):
    with pytest.raises(ConfigError, match="till cannot be read anew"):
        client.refresh_prices("till")
