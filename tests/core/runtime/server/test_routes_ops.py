"""Health, metrics, the OpenAPI document and the page that shows it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from freelane.runtime.server import openapi, page
from freelane.runtime.server.counts import Counts
from freelane.runtime.server.descriptions import DESCRIPTIONS, SCHEMAS
from freelane.runtime.server.order import Order
from freelane.runtime.server.routes import health, ops
from freelane.runtime.server.routes.assembly import assemble
from freelane.runtime.server.routes.shared import native_form

TOKEN = "t" * 20
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def routes(admission):
    """All routes of a server."""
    order = Order(name="tiny", bundle="b", python="p", model="m")
    return assemble(order, admission, Counts(), unready=lambda: None)


@pytest.fixture
def document(routes):
    return openapi.document("tiny", routes)


@pytest.fixture
def ask(asking):
    def make(counts=None):
        found = list(ops.routes("tiny", counts or Counts(), lambda: found, form=native_form))
        return asking(found, TOKEN)

    return make


def test_it_lives_while_it_starts_and_while_it_ends_and_is_ready_between(asking):
    state = "starting"
    asked = asking(health.routes(lambda: state, form=native_form), TOKEN)
    for state in ("starting", None, "ending"):
        assert asked("GET", "/healthz").status == 200
        ready = asked("GET", "/readyz")
        assert ready.status == (503 if state else 200)
        if state:
            assert ready.document["error"]["message"] == f"the endpoint is {state}"
            assert ready.reply_headers["retry-after"] == "1"


def test_a_probe_that_comes_too_early_is_not_logged_as_a_failure(asking, capsys):
    asking(health.routes(lambda: "starting", form=native_form))("GET", "/readyz")
    assert capsys.readouterr().err == ""


def test_metrics_need_the_token_and_the_documentation_does_not(ask):
    asked = ask()
    assert asked("GET", "/metrics").status == 401
    assert asked("GET", "/metrics", headers=BEARER).status == 200
    for path in ("/openapi.json", "/docs"):
        assert asked("GET", path).status == 200


def test_metrics_are_what_was_counted(ask):
    counts = Counts()
    counts.batch(3, 2, 0.01)
    got = ask(counts)("GET", "/metrics", headers=BEARER)
    assert got.kind.startswith("text/plain; version=")
    assert b"\nfreelane_batch_rows_sum 3.0\n" in got.answer


def test_the_document_is_valid_openapi(document):
    OPENAPI_31_VALIDATOR.validate(json.loads(json.dumps(document)))


def test_what_is_served_is_the_document_of_its_own_routes(ask):
    served = ask()("GET", "/openapi.json").document
    assert set(served["paths"]) == {"/metrics", "/openapi.json", "/docs"}
    assert served["info"]["title"] == "Freelane endpoint tiny"


def test_every_route_is_described_and_stands_in_the_document(routes, document):
    for route in routes:
        described = DESCRIPTIONS.get(route.operation)
        assert described is not None, f"{route.operation} {route.path}"
        told = openapi.templates(route, described)
        assert any(
            document["paths"][path][route.method.lower()]["operationId"].startswith(route.operation)
            for path in told
        ), route


def test_every_pattern_is_told_by_a_path_that_it_matches(routes):
    for route in routes:
        if not isinstance(route.path, str):
            told = openapi.templates(route, DESCRIPTIONS[route.operation])
            assert told != [f"/{route.operation}"], f"{route.operation} {route.path.pattern}"


def test_only_open_routes_are_told_as_such(routes, document):
    open_paths = {route.path for route in routes if route.is_open and isinstance(route.path, str)}
    told = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if operation.get("security") == []
    }
    assert open_paths <= told
    assert "/metrics" not in told
    assert "/v1/endpoints/tiny/predict" not in told


def test_every_operation_has_a_name_of_its_own(document):
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))


def test_no_schema_is_named_that_is_not_there(document):
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert named <= set(SCHEMAS)


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"src", "href"}]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]


def test_the_page_loads_nothing_from_anywhere():
    links = _Links()
    links.feed(page.body().decode())
    assert set(links.found) == {"data:,", "/openapi.json"}
    assert not re.findall(rb"https?://|@import|url\(", page.body())


def test_the_page_runs_its_own_script_and_no_other():
    headers = dict(page.headers())
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        text = page.body().partition(f"<{kind}>".encode())[2].partition(f"</{kind}>".encode())[0]
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_page_makes_no_markup_of_what_it_is_told():
    assert not re.search(
        rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page.body()
    )
