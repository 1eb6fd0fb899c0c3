"""`prices` and `prices refresh`, as a user types them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

OFFER = {
    "offerCode": "AmazonSageMaker",
    "publicationDate": "2026-11-20T00:00:00Z",
    "products": {
        "SKU1": {
            "sku": "SKU1",
            "productFamily": "ML Instance",
            "attributes": {
                "instanceName": "ml.m5.xlarge",
                "component": "Training",
                "regionCode": "eu-central-1",
                "operation": "RunInstance",
                "platoinstancename": "ml.m5.xlarge",
                "platoinstancetype": "Training",
            },
        }
    },
    "terms": {
        "OnDemand": {
            "SKU1": {
                "SKU1.T": {
                    "priceDimensions": {
                        "SKU1.T.D": {"unit": "Hrs", "pricePerUnit": {"USD": "0.2760000000"}}
                    }
                }
            }
        }
    },
}


@pytest.fixture
def copy():
    """A loopback copy of the official file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(OFFER).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def prices(freelane, *args):
    ran = freelane("prices", *args, "--json")
    assert ran.code == 0, ran.err
    return ran.document["prices"]


def test_every_price_has_a_source_and_a_date(freelane):
    found = prices(freelane, "sagemaker")
    assert found
    assert all(row["source"] and row["as_of"] and row["usd"] > 0 for row in found)


def test_prices_are_listed_for_an_hour_and_not_for_a_millisecond(freelane):
    out = freelane("prices", "sagemaker").out
    assert "$0.23 / hour" in out
    assert "region=us-east-1" in out


def test_the_prices_of_tokens_are_listed_for_the_models_of_the_catalogue(freelane):
    pytest.importorskip("genai_prices")
    found = prices(freelane, "gemini")
    assert "gemini-3.5-flash-lite" in {row["attributes"]["model"] for row in found}


def test_prices_that_are_old_are_warned_of_in_one_line(freelane):
    ran = freelane("prices", "sagemaker")
    (line,) = ran.err.splitlines()
    assert line.startswith("warning: 10 prices of sagemaker are from https://github.com/")
    assert ", as of 2023-12-31, " in line
    assert line.endswith("freelane prices refresh sagemaker --region eu-west-1")


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        (["2020-01-01", "2020-01-01"], ["2 prices of vertex are from my notes, as of 2020-01-01"]),
        (
            ["2020-01-01", "2020-01-02"],
            [
                "1 price of vertex is from my notes, as of 2020-01-01",
                "1 price of vertex is from my notes, as of 2020-01-02",
            ],
        ),
    ],
)
def test_old_prices_are_one_warning_for_each_source_and_date(freelane, home, dates, told):
    folder = home / ".config/freelane/prices"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        "".join(
            f'[[price]]\nprovider = "vertex"\nmeter = "vertex.training"\nunit = "ms"\n'
            f'attributes = {{ machine = "m{number}" }}\nusd = "0.5"\nper = "hour"\n'
            f'source = "my notes"\nas_of = {day}\n'
            for number, day in enumerate(dates)
        )
    )
    lines = freelane("prices", "vertex").err.splitlines()
    assert [line.removeprefix("warning: ").rpartition(", ")[0] for line in lines] == told
    assert all("write yours into a file of the folder prices" in line for line in lines)


def test_all_prices_are_those_of_every_plugin(freelane):
    assert "sagemaker" in {row["provider"] for row in prices(freelane)}


def test_what_has_no_prices_says_so(freelane):
    assert freelane("prices", "local").out == "no price is known of local\n"


def test_a_price_of_ones_own_replaces_ours(freelane, home):
    folder = home / ".config/freelane/prices"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        '[[price]]\nprovider = "sagemaker"\nmeter = "sagemaker.training"\nunit = "ms"\n'
        'attributes = { instance_type = "ml.m5.xlarge", region = "us-east-1" }\n'
        'usd = "0.5"\nper = "hour"\nsource = "my contract"\nas_of = 2026-11-01\n'
    )
    mine = [row for row in prices(freelane, "sagemaker") if row["source"] == "my contract"]
    assert [row["usd"] / row["per"] * 3_600_000 for row in mine] == [pytest.approx(0.5)]


def test_a_refresh_keeps_what_the_official_file_says(freelane, home, copy):
    args = ("--region", "eu-central-1", "--from", copy)
    done = freelane("prices", "refresh", "sagemaker", *args, "--json").document["refreshed"]
    assert (done["count"], done["region"], done["as_of"]) == (1, "eu-central-1", "2026-11-20")
    assert done["file"].startswith(str(home / ".config/freelane/prices"))
    found = [
        row
        for row in prices(freelane, "sagemaker")
        if row["attributes"].get("region") == "eu-central-1"
    ]
    assert [(row["meter"], row["source"].startswith(copy)) for row in found] == [
        ("sagemaker.training", True)
    ]
    assert (
        ": 1 price of sagemaker in eu-central-1"
        in freelane("prices", "refresh", "sagemaker", *args).out
    )


def test_the_region_of_a_refresh_is_the_configured_one(project, freelane, copy):
    with (project / "freelane.toml").open("a") as file:
        file.write('\n[providers.sagemaker]\nregion = "eu-central-1"\n')
    ran = freelane("prices", "refresh", "sagemaker", "--from", copy, "--json")
    assert ran.document["refreshed"]["region"] == "eu-central-1"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["refresh", "sagemaker"], "no region of sagemaker is configured"),
        (["refresh", "sagemaker", "--region", "../x"], "is not a region"),
        (["refresh", "sagemaker", "--region", "us-east-1", "--from", "http://evil.example"],
         "nowhere else"),
        (["refresh", "local", "--region", "us-east-1"], "cannot be read anew"),
        (["refresh", "vertex"], "cannot be read anew"),
        (["refresh", "cloudrun"], "--region us-central1"),
        (["refresh", "sagemakr"], "did you mean sagemaker?"),
        (["refresh"], "missing argument"),
        (["sagemakr"], "did you mean sagemaker?"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(freelane, args, told):
    ran = freelane("prices", *args)
    assert ran.code == 2
    assert told in ran.err
    assert len(ran.err.splitlines()) <= 2
