import json
import tracemalloc
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.quota.catalogue.json_stream import JsonStream, NotJson
from freelane.quota.catalogue.offers import NotAnOffer, read_sagemaker
from freelane.quota.catalogue.skus import read_page

REGION = "us-east-1"


def product(sku: str, component: str, name: str, **change: object) -> dict[str, object]:
    attributes = {
        "servicecode": "AmazonSageMaker",
        "location": "US East (N. Virginia)",
        "instanceName": name,
        "instanceType": f"{name}-{component}",
        "component": component,
        "regionCode": REGION,
        **change,
    }
    return {"sku": sku, "productFamily": "ML Instance", "attributes": attributes}


def term(sku: str, usd: str = "0.2300000000", unit: str = "Hrs", **prices: str):
    rate = {
        "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        "description": f"$ per {sku}",
        "beginRange": "0",
        "endRange": "Inf",
        "unit": unit,
        "pricePerUnit": prices or {"USD": usd},
        "appliesTo": [],
    }
    return {
        f"{sku}.JRTCKXETXF": {
            "offerTermCode": "JRTCKXETXF",
            "sku": sku,
            "priceDimensions": {rate["rateCode"]: rate},
        }
    }


def offer(products, terms, **change):
    return {
        "formatVersion": "v1.0",
        "disclaimer": 'a text with "}" and [ in it',
        "offerCode": "AmazonSageMaker",
        "version": "20261120",
        "publicationDate": "2026-11-20T18:41:12Z",
        "products": products,
        "terms": {"OnDemand": terms, "Reserved": {"X": [{"deep": ["]}", {}]}]}},
        "attributesList": {},
        **change,
    }


def read(document, size: int = 7, region: str = REGION):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return read_sagemaker(chunks, region=region, source="https://aws.example")


@pytest.mark.parametrize("size", [1, 64, 1 << 16])
def test_an_offer_file_is_read_whatever_pieces_it_comes_in(size):
    found = read(
        offer(
            {
                "T": product("T", "Training", "ml.m5.xlarge"),
                "H": product("H", "Hosting", "ml.m5.xlarge"),
                "N": product("N", "Notebook", "ml.t3.medium"),
                "P": product("P", "Processing", "ml.m5.xlarge"),
                "S": {"productFamily": "ML Serverless", "attributes": {"regionCode": REGION}},
            },
            {sku: term(sku, f"0.{n}") for n, sku in enumerate("THNPS", 1)},
        ),
        size,
    )
    assert [(r.meter, r.attributes, r.price.nano_usd, r.price.per) for r in found.rates] == [
        (meter, {"instance_type": name, "region": REGION}, nano, 3_600_000)
        for meter, name, nano in [
            ("sagemaker.endpoint", "ml.m5.xlarge", 200_000_000),
            ("sagemaker.notebook", "ml.t3.medium", 300_000_000),
            ("sagemaker.training", "ml.m5.xlarge", 100_000_000),
        ]
    ]
    assert found.as_of == date(2026, 11, 20)
    assert found.left_out == ()
    assert found.rates[0].price.source == "https://aws.example"


def test_terms_may_come_before_products():
    document = offer({"T": product("T", "Training", "ml.m5.xlarge")}, {"T": term("T")})
    terms = document.pop("terms")
    found = read({"terms": terms, **document})
    assert [rate.price.nano_usd for rate in found.rates] == [230_000_000]


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({}, "no on-demand price"),
        ({"T": term("T", "0.0000000000")}, "0.0000000000 USD for an hour"),
        ({"T": term("T", "-1")}, "-1 USD for an hour"),
        ({"T": term("T", "1000000")}, "1000000 USD for an hour"),
        ({"T": term("T", "NaN")}, "NaN USD for an hour"),
        ({"T": term("T", "soon")}, "'soon' is no price"),
        ({"T": term("T", "1e-30")}, "'1e-30' is no price"),
        ({"T": term("T", unit="GB-Mo")}, "a price for each 'GB-Mo'"),
        ({"T": term("T", CNY="1.00")}, "no price in USD"),
        ({"T": {**term("T"), "b": term("T")["T.JRTCKXETXF"]}}, "2 prices"),
    ],
)
def test_a_price_that_is_not_plausible_is_left_out_and_named(terms, why):
    found = read(offer({"T": product("T", "Training", "ml.m5.xlarge")}, terms))
    assert found.rates == ()
    assert found.left_out == (f"sagemaker.training ml.m5.xlarge: {why}",)


def test_of_two_prices_of_a_machine_the_dearer_is_taken():
    products = {sku: product(sku, "Training", "ml.m5.xlarge") for sku in "AB"}
    found = read(offer(products, {"A": term("A", "0.30"), "B": term("B", "0.20")}))
    assert [rate.price.nano_usd for rate in found.rates] == [300_000_000]


@pytest.mark.parametrize("name", ['ml.a"\n[[price]]', "m5.xlarge", "ml.m5", 3])
def test_a_name_that_is_no_machines_is_passed_over(name):
    document = offer({"T": product("T", "Training", name)}, {"T": term("T")})
    with pytest.raises(NotAnOffer, match="it has no machine of us-east-1"):
        read(document)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (offer({}, {}), "it has no machine of us-east-1"),
        (offer({}, {}, offerCode="AmazonEC2"), "its offer is 'AmazonEC2', not AmazonSageMaker"),
        (offer({}, {}, publicationDate="soon"), "its publicationDate is 'soon'"),
        ({"offerCode": "AmazonSageMaker"}, "it has no publicationDate"),
        (offer([], {}), "{ was expected"),
        (b"<html>", "{ was expected"),
        (b"", "it is cut off"),
        (json.dumps(offer({}, {})).encode()[:-40], "cut off"),
        (b'{"offerCode": "Amazon\xff"}', "it is not UTF-8"),
        (b'{"offerCode": ' + b"[" * 100_000, "not JSON"),
        (b'{"offerCode": "' + b"a" * 3 * 2**20, "too large"),
        (b'{"x": "' + b"a" * 3 * 2**20, "too large"),
        (b'{"x": {"y": "' + b"a" * 3 * 2**20, "one text is too large"),
        (b'{"x": {"y": "', "it is cut off"),
    ],
)
def test_another_document_is_refused(document, why):
    with pytest.raises(NotAnOffer) as caught:
        read(document, 1 << 16)
    assert why in str(caught.value)


def test_another_regions_file_is_refused():
    document = offer({"T": product("T", "Training", "ml.m5.xlarge")}, {"T": term("T")})
    with pytest.raises(NotAnOffer, match="it has no machine of eu-west-1"):
        read(document, region="eu-west-1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5), st.integers(1, 9), st.booleans())
def test_a_stream_reads_what_json_reads(document, size, ascii_only):
    body = json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:  # a lone surrogate: no document of this world
        return
    stream = JsonStream(body[at : at + size] for at in range(0, len(body), size))
    assert {key: stream.value() for key in stream.members()} == document


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5), st.integers(1, 9))
def test_a_stream_passes_over_what_nobody_wants(document, size):
    body = json.dumps({**document, "last": 7}).encode()
    stream = JsonStream(body[at : at + size] for at in range(0, len(body), size))
    last = None
    for key in stream.members():
        if key == "last":
            last = stream.value()
        else:
            stream.skip()
    assert last == 7


def test_a_key_that_is_no_text_is_no_json():
    with pytest.raises(NotJson, match="a key is no text"):
        list(JsonStream([b"{1: 2}"]).members())


def sku(
    description: str,
    unit: str = "s",
    nanos: object = 24_000,
    *,
    units: str = "0",
    currency: str = "USD",
    since: str = "2026-11-20T00:00:00Z",
    **change: object,
):
    return {
        "description": description,
        "category": {"usageType": "OnDemand", "resourceGroup": "Compute"},
        "serviceRegions": ["us-central1"],
        "pricingInfo": [
            {
                "effectiveTime": since,
                "pricingExpression": {
                    "usageUnit": unit,
                    "tieredRates": [
                        {
                            "startUsageAmount": 0,
                            "unitPrice": {"currencyCode": "USD", "units": "0", "nanos": 0},
                        },
                        {
                            "startUsageAmount": 180000,
                            "unitPrice": {
                                "currencyCode": currency,
                                "units": units,
                                "nanos": nanos,
                            },
                        },
                    ],
                },
            }
        ],
        **change,
    }


def page(*skus, **more):
    body = json.dumps({"skus": skus, **more}).encode()
    return read_page(body, region="us-central1", source="https://google.example")


@pytest.mark.parametrize(
    ("description", "unit", "nanos", "meter", "billing", "per"),
    [
        ("CPU Allocation Time", "s", 24_000, "cloudrun.cpu", "request", 1000),
        ("Services CPU (Request-based billing)", "s", 24_000, "cloudrun.cpu", "request", 1000),
        ("Services CPU (Instance-based billing)", "s", 18_000, "cloudrun.cpu", "instance", 1000),
        ("Jobs CPU in us-central1", "s", 18_000, "cloudrun.cpu", "instance", 1000),
        ("Memory Allocation Time", "GiBy.s", 2_500, "cloudrun.memory", "request", 1000),
        ("Requests", "count", 400, "cloudrun.requests", "request", 1),
    ],
)
def test_a_sku_is_known_by_its_words(description, unit, nanos, meter, billing, per):
    (rate,) = page(sku(description, unit, nanos)).rates
    assert (rate.meter, rate.attributes) == (meter, {"billing": billing, "region": "us-central1"})
    assert (rate.price.nano_usd, rate.price.per) == (nanos, per)
    assert rate.price.as_of == date(2026, 11, 20)


@pytest.mark.parametrize(
    "other",
    [
        sku("CPU Allocation Time (tier 2)"),
        sku("Network Internet Egress"),
        sku("GPU time"),
        sku("CPU Allocation Time", serviceRegions=["europe-west3"]),
        sku("CPU Allocation Time", category={"usageType": "Commit1Yr"}),
        sku("Something else"),
        {},
        3,
    ],
)
def test_a_sku_of_something_else_is_passed_over(other):
    found = page(other, nextPageToken="next")
    assert (found.rates, found.left_out, found.next_page) == ((), (), "next")


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (sku("CPU Allocation Time", unit="h"), "a price for each h"),
        (sku("CPU Allocation Time", nanos=0), "0E-9 USD for each s"),
        (sku("CPU Allocation Time", nanos=-5), "0E-9 USD for each s"),
        (sku("CPU Allocation Time", nanos=2 * 10**9), "2.000000000 USD for each s"),
        (sku("CPU Allocation Time", nanos="4"), "no price in USD"),
        (sku("CPU Allocation Time", pricingInfo=[]), "a price for each None"),
        (sku("CPU Allocation Time", currency="EUR"), "no price in USD"),
        (sku("CPU Allocation Time", units="-3"), "'-3' is no price"),
        (sku("CPU Allocation Time", since="soon"), "it has no date"),
    ],
)
def test_a_sku_whose_price_is_not_plausible_is_left_out_and_named(odd, why):
    found = page(odd)
    assert found.rates == ()
    assert found.left_out == (f"CPU Allocation Time: {why}",)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"skus": 3}', b"[" * 100_000])
def test_what_is_no_page_of_skus_is_refused(body):
    with pytest.raises(NotAnOffer):
        read_page(body, region="us-central1", source="")


def test_a_large_file_is_never_in_memory_as_a_whole():
    def pieces():
        products = (f'"S{n}": {json.dumps(product(f"S{n}", "X", "ml.x"))}' for n in range(20_000))
        last = f'"T": {json.dumps(product("T", "Training", "ml.m5.xlarge"))}'
        yield b'{"publicationDate": "2026-11-20T00:00:00Z", "products": {'
        for one in products:
            yield f"{one},".encode()
        yield last.encode()
        yield b'}, "terms": {"Reserved": {"R": {"a": ['
        for _ in range(100):
            yield b"1," * 30_000
        yield b'1]}}, "OnDemand": {"T": ' + json.dumps(term("T")).encode() + b"}}}"

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = read_sagemaker(pieces(), region=REGION, source="")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [rate.price.nano_usd for rate in found.rates] == [230_000_000]
    assert peak - before < 2**20  # 11 MB went through
