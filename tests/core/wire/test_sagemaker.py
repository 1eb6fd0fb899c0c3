import json

import pytest
from botocore.eventstream import EventStreamBuffer

from freelane.wire import sagemaker
from freelane.wire.strict_json import BodyRefused


def events(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [event.to_response_dict() for event in buffer]


def test_events_are_read_by_aws_own_decoder():
    sent = [b"", b"one", b"x" * 100_000]
    found = events(b"".join(sagemaker.payload_part(data) for data in sent))
    assert [event["body"] for event in found] == sent
    assert {event["headers"][":event-type"] for event in found} == {"PayloadPart"}
    assert {event["headers"][":message-type"] for event in found} == {"event"}


def test_a_stream_that_breaks_says_so_in_an_event():
    (event,) = events(sagemaker.stream_error("it \N{BULLET} broke", code="model_error"))
    assert event["headers"][":exception-type"] == "ModelStreamError"
    assert json.loads(event["body"]) == {
        "Message": "it \N{BULLET} broke",
        "ErrorCode": "model_error",
    }


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (500, "server"), (0, "server")])
def test_a_model_error_tells_what_the_container_answered(status, side):
    answered, body = sagemaker.encode_model_error(status, "no")
    assert answered == 424
    assert json.loads(body) == {
        "Message": f'Received {side} error ({status}) from primary with message "no".',
        "OriginalMessage": "no",
        "OriginalStatusCode": status,
        "LogStreamArn": "",
    }


def test_a_location_names_a_bucket_and_a_key():
    location = sagemaker.read_location("s3://my-bucket/in/row 1.json")
    assert (location.bucket, location.key) == ("my-bucket", "in/row 1.json")
    assert str(location) == "s3://my-bucket/in/row 1.json"


@pytest.mark.parametrize(
    "value",
    [
        *("", "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "file://bucket/key"),
        *("https://bucket/key", "S3://bucket/key", "s3://b/key", "s3://../key", "s3://a..b/key"),
        *("s3://Bucket/key", "s3://buc%2fket/key", "s3://-bucket/key", "bucket/key"),
        *("s3://bucket/../key", "s3://bucket/a/../../key", "s3://bucket/./key", "s3://bucket//k"),
        *("s3://bucket/key/", "s3://bucket/a\x00b", "s3://bucket/a\nb", "s3://bucket/..\\key"),
    ],
)
def test_what_is_no_plain_location_is_refused(value):
    with pytest.raises(BodyRefused):
        sagemaker.read_location(value)


@pytest.mark.parametrize("value", ["x" * 1025, "caf\xe9", "a\x07"])
def test_custom_attributes_are_short_and_plain(value):
    with pytest.raises(BodyRefused):
        sagemaker.read_attributes(value)
    assert sagemaker.read_attributes("c" * 1024) == "c" * 1024
    assert sagemaker.read_attributes(None) is None


@pytest.mark.parametrize("value", ["", " a", "x" * 65, "\xe9"])
def test_an_inference_id_is_short_and_printable(value):
    with pytest.raises(BodyRefused):
        sagemaker.read_inference_id(value)
    assert sagemaker.read_inference_id("id 1") == "id 1"


@pytest.mark.parametrize("value", ["", "0", "3601", "-1", "1.5", "\xb2", "9" * 5000, "1 "])
def test_seconds_are_a_whole_number_in_range(value):
    with pytest.raises(BodyRefused):
        sagemaker.read_seconds(value, most=3600)
    assert sagemaker.read_seconds("3600", most=3600) == 3600
