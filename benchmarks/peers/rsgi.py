"""The least that granian serves: raw RSGI, a constant answer."""

BODY = b'{"predictions":[1]}'
HEADERS = [("content-type", "application/json")]


async def app(_scope, protocol):  # noqa: ANN001, ANN201 - as RSGI has it
    """Read the body, answer."""
    await protocol()
    protocol.response_bytes(200, HEADERS, BODY)
