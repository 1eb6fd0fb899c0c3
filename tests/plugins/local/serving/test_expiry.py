"""An endpoint's time is over when it is over, whatever becomes of the wall clock."""

import json
import time

import pytest

from freelane_local.endpoint_folder import EndpointFolder
from freelane_local.endpoint_supervisor import _Supervisor


@pytest.mark.parametrize(
    ("wall_s", "passed_s", "over"),
    [(0, 3500, False), (3700, 3700, True), (-86_400, 3700, True), (86_400, 10, True)],
)
def test_a_clock_that_is_set_back_prolongs_nothing(tmp_path, monkeypatch, wall_s, passed_s, over):
    now, began = time.time(), time.monotonic()
    order = {
        "name": "tripler", "argv": [], "python": "python3", "expires_at": now + 3600, "note": "",
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(order))
    supervisor = _Supervisor(EndpointFolder(tmp_path))
    monkeypatch.setattr(time, "time", lambda: now + wall_s)
    monkeypatch.setattr(time, "monotonic", lambda: began + passed_s)
    assert supervisor._must_end() is over
