"""`freelane demo`: the one line that a newcomer runs first."""


def test_the_demo_is_accurate_and_leaves_nothing_running(freelane, left_running, tmp_path):
    ran = freelane("demo", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    demo = ran.document["demo"]
    assert demo["accuracy"] >= 0.95
    assert demo["latency_ms"]["p50"] > 0
    assert list(tmp_path.iterdir()) == []
    assert left_running() == []
    assert freelane("endpoints", "--json", cwd=tmp_path).document["endpoints"] == []
