"""What types that carry secrets or defaults must keep to."""

from freelane.model import call, endpoint, plan, prediction


def test_a_call_does_not_show_its_credentials_or_its_body():
    headers = {"Authorization": "Bearer canary"}
    sent = call.HttpCall("POST", "http://localhost/x", headers, b"canary")
    assert "canary" not in repr(sent)
    assert "canary" not in repr(call.HttpReply(200, {}, b"canary"))


def test_an_endpoint_scales_to_zero_unless_more_is_asked():
    assert endpoint.Replicas() == endpoint.Replicas(min=0, max=1)
    assert endpoint.RateLimits().per_minute is None


def test_predictions_and_plans_say_nothing_by_default():
    assert prediction.Prediction([1]).usage == {}
    assert plan.Plan.__dataclass_fields__["warnings"].default == ()
