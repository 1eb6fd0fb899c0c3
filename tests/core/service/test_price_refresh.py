"""`prices refresh` against a loopback copy of the official files."""

import json
import os
import stat
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from freelane.clock import SystemClock
from freelane.errors import ConfigError, ProviderInternal, ProviderUnreachable, StateError
from freelane.quota.catalogue.pricing import prices
from freelane.service.price_refresh import refresh
from freelane.waiting import Deadline

OFFER = {
    "formatVersion": "v1.0",
    "offerCode": "AmazonSageMaker",
    "publicationDate": "2026-11-20T18:41:12Z",
    "products": {
        sku: {
            "sku": sku,
            "productFamily": "ML Instance",
            "attributes": {
                "component": component,
                "instanceName": name,
                "regionCode": "us-east-1",
            },
        }
        for sku, component, name in [
            ("A1", "Training", "ml.m5.xlarge"),
            ("A2", "Hosting", "ml.m5.xlarge"),
            ("A3", "Hosting", "ml.g4dn.xlarge"),
            ("A4", "Training", "ml.p3.2xlarge"),
        ]
    },
    "terms": {
        "OnDemand": {
            sku: {
                f"{sku}.T": {
                    "priceDimensions": {
                        f"{sku}.T.R": {"unit": "Hrs", "pricePerUnit": {"USD": usd}},
                    }
                }
            }
            for sku, usd in [("A1", "0.2300"), ("A2", "0.23"), ("A3", "0.7364"), ("A4", "0.0")]
        }
    },
}
TRAINING = {"instance_type": "ml.m5.xlarge", "region": "us-east-1"}


def sku(description: str, unit: str, nanos: int):
    price = {"currencyCode": "USD", "units": "0", "nanos": nanos}
    return {
        "description": description,
        "serviceRegions": ["us-central1"],
        "pricingInfo": [
            {
                "effectiveTime": "2026-11-19T00:00:00Z",
                "pricingExpression": {"usageUnit": unit, "tieredRates": [{"unitPrice": price}]},
            }
        ],
    }


PAGES = {
    "": {"skus": [sku("CPU Allocation Time", "s", 24_000)], "nextPageToken": "p/2"},
    "p/2": {"skus": [sku("Memory Allocation Time", "GiBy.s", 2_500)]},
}


class Host:
    """The providers' hosts on loopback; `answers` has other bodies for paths."""

    def __init__(self):
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.requests.append((self.path, dict(self.headers)))
                status, body = host.answer(self.path)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if parts.path in self.answers:
            return self.answers[parts.path]
        if parts.path == "/offers/v1.0/aws/AmazonSageMaker/current/us-east-1/index.json":
            return 200, json.dumps(OFFER).encode()
        if parts.path == "/v1/services/152E-C115-5142/skus":
            (token,) = parse_qs(parts.query, keep_blank_values=True)["pageToken"]
            return 200, json.dumps(PAGES[token]).encode()
        return 404, b"{}"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def host():
    made = Host()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    """It does not exist yet."""
    return tmp_path / "freelane/prices"


@pytest.fixture
def run(host, folder):
    def refreshed(plugin="sagemaker", region="us-east-1", url=None, **more):
        deadline = Deadline(SystemClock(), 20)
        return refresh(
            plugin, folder, region=region, url=url or host.url, deadline=deadline, **more
        )

    return refreshed


def test_the_prices_of_a_region_are_read_and_kept(run, folder, host):
    done = run()
    assert (done.file, done.count) == (folder / "refreshed-sagemaker-us-east-1.toml", 3)
    assert done.as_of == date(2026, 11, 20)
    assert done.left_out == ("sagemaker.training ml.p3.2xlarge: 0.0 USD for an hour",)
    book = prices("freelane_sagemaker.prices", "sagemaker", folder)
    price = book.find("sagemaker.training", TRAINING)
    assert (price.nano_usd, price.per, price.as_of) == (230_000_000, 3_600_000, done.as_of)
    assert price.source.startswith(f"{host.url}/offers/v1.0/aws/AmazonSageMaker/current/us-east-1")
    gpu = {"instance_type": "ml.g4dn.xlarge", "region": "us-east-1"}
    assert book.find("sagemaker.endpoint", gpu).of(3_600_000) == 736_400_000
    assert book.find("sagemaker.training", {**gpu, "instance_type": "ml.p3.2xlarge"}) is None


def test_a_second_time_replaces_the_file_and_nothing_else(run, folder):
    run()
    mine = folder / "mine.toml"
    mine.write_text("# mine\n")
    before = (folder / "refreshed-sagemaker-us-east-1.toml").read_text()
    run()
    assert (folder / "refreshed-sagemaker-us-east-1.toml").read_text() == before
    assert mine.read_text() == "# mine\n"
    assert sorted(folder.iterdir()) == [mine, folder / "refreshed-sagemaker-us-east-1.toml"]


def test_the_pages_of_cloud_run_are_read_to_the_last(run, folder, host):
    done = run("cloudrun", "us-central1", environ={"GOOGLE_API_KEY": "canary"})
    assert done.count == 2
    book = prices(None, "cloudrun", folder)
    use = {"billing": "request", "region": "us-central1"}
    assert book.find("cloudrun.cpu", use).of(1000) == 24_000
    assert book.find("cloudrun.memory", use).of(1000) == 2_500
    assert len(host.requests) == 2
    for path, headers in host.requests:
        assert headers["x-goog-api-key"] == "canary"
        assert "canary" not in path
    assert "canary" not in done.file.read_text()


def test_pages_without_end_are_refused(run, host):
    body = json.dumps({"skus": [], "nextPageToken": "again"}).encode()
    host.answers["/v1/services/152E-C115-5142/skus"] = (200, body)
    with pytest.raises(ProviderInternal, match="more than 100 pages"):
        run("cloudrun", "us-central1")


def test_a_price_that_moved_far_is_kept_and_named(run, folder):
    folder.mkdir(parents=True)
    text = """
        [[price]]
        provider = "sagemaker"
        meter = "sagemaker.training"
        unit = "ms"
        attributes = { instance_type = "ml.m5.xlarge", region = "us-east-1" }
        usd = "0.05"
        per = "hour"
        as_of = 2026-01-01
    """
    (folder / "old.toml").write_text(text)
    done = run(known=prices(None, "sagemaker", folder))
    assert done.changed == ("sagemaker.training ml.m5.xlarge us-east-1: 4.6 times what it was",)
    assert run(known=prices("freelane_sagemaker.prices", "sagemaker")).changed == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://pricing.us-east-1.amazonaws.com",
        "https://evil.example",
        "https://pricing.us-east-1.amazonaws.com.evil.example",
        "https://pricing.us-east-1.amazonaws.com@evil.example",
        "https://me:secret@pricing.us-east-1.amazonaws.com",
        "https://pricing.us-east-1.amazonaws.com:8443",
        "https://pricing.us-east-1.amazonaws.com\\.evil.example",
        "https://pricing.us-east-1.amazonaws.com/x?y=1",
        "https://cloudbilling.googleapis.com",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "http://[::1",
        "http://127.0.0.1:99999",
        "pricing.us-east-1.amazonaws.com",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\u2028",
    ],
)
def test_prices_are_read_from_the_provider_or_this_machine_alone(run, folder, url):
    with pytest.raises(ConfigError) as caught:
        run(url=url)
    assert "secret" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize("region", ["", "../x", "us-east-1/../..", "US-EAST-1", "us east 1", "x"])
def test_a_region_is_a_name_and_no_path(run, folder, region):
    with pytest.raises(ConfigError, match="is not a region"):
        run(region=region)
    assert not folder.exists()


@pytest.mark.parametrize("plugin", ["vertex", "gemini", "local"])
def test_what_cannot_be_read_anew_says_what_can(run, plugin):
    with pytest.raises(ConfigError, match="those of cloudrun and sagemaker can"):
        run(plugin)


def test_google_is_not_asked_without_a_key(folder):
    with pytest.raises(ConfigError, match="set GOOGLE_API_KEY"):
        refresh("cloudrun", folder, region="us-central1", deadline=Deadline(SystemClock(), 5))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((403, b"{}"), "it answered 403"),
        ((302, b""), "it answered 302"),
        ((200, b"<html>"), "{ was expected"),
        ((200, json.dumps(OFFER).encode()[:-9]), "cut off"),
        ((200, json.dumps({**OFFER, "offerCode": "AmazonEC2"}).encode()), "its offer is"),
        ((200, json.dumps({**OFFER, "terms": {}}).encode()), "no price for us-east-1"),
    ],
)
def test_an_answer_that_is_no_price_file_changes_nothing(run, host, folder, answer, why):
    run()
    before = (folder / "refreshed-sagemaker-us-east-1.toml").read_text()
    host.answers["/offers/v1.0/aws/AmazonSageMaker/current/us-east-1/index.json"] = answer
    with pytest.raises(ProviderInternal) as caught:
        run()
    assert why in str(caught.value)
    assert str(caught.value).endswith("; nothing was changed")
    assert (folder / "refreshed-sagemaker-us-east-1.toml").read_text() == before
    assert len(list(folder.iterdir())) == 1


def test_nobody_there_is_said(folder, host):
    url = host.url.rpartition(":")[0] + ":9"
    with pytest.raises(ProviderUnreachable):
        refresh(
            "sagemaker", folder, region="us-east-1", url=url, deadline=Deadline(SystemClock(), 5)
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(run, folder):
    folder.mkdir(parents=True)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StateError, match="the prices are as they were"):
        run()


def test_a_folder_that_is_a_file_is_said(run, folder):
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        run()


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(run, folder):
    (folder / "refreshed-sagemaker-us-east-1.toml").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be written"):
        run()
    assert [path.name for path in folder.iterdir()] == ["refreshed-sagemaker-us-east-1.toml"]


def test_what_another_address_names_is_read_as_it_is(run, host):
    host.answers["/copy.json"] = (200, json.dumps(OFFER).encode())
    assert run(url=f"{host.url}/copy.json").count == 3
