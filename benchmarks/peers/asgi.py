"""The least that uvicorn serves: raw ASGI, a constant answer."""

BODY = b'{"predictions":[1]}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
}


async def app(_scope, receive, send):  # noqa: ANN001, ANN201 - as ASGI has it
    """Read the body, answer."""
    while (await receive()).get("more_body", False):
        pass
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
