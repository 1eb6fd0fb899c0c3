"""Predictions of local endpoints: the native route with the endpoint's own token."""

import secrets
from collections.abc import Callable
from pathlib import Path

from freelane.contract.provider import ProviderContext
from freelane.errors import EndpointNotReady, InvalidRequest, ProviderInternal
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import EndpointHandle, EndpointStatus
from freelane.model.lifecycle import EndpointState
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.wire import native
from freelane.wire.problem import error_of
from freelane.wire.strict_json import BodyRefused
from freelane_local.endpoint_folder import folder_of, look, name_of

_OPERATION = "predict"
_OK = 200


class LocalDoor:
    """Where an endpoint answers and by what token; both are read anew for every call."""

    def __init__(self, root: Path, context: ProviderContext) -> None:
        self._root = root
        self._provider = context.name

    def call(
        self,
        handle: EndpointHandle,
        path: Callable[[str], str],
        body: bytes,
        *,
        accept: str = native.CONTENT_TYPE,
    ) -> HttpCall:
        """A POST to the path that the endpoint's name gives.

        Raises:
            EndpointNotReady: It does not answer now.
        """
        folder = folder_of(self._root, handle.ref)
        status = look(folder)
        try:
            token = folder.token.read_text("ascii").strip()
        except OSError:
            token = ""
        if status.url is None or not token:
            raise self._not_ready(handle, status)
        return HttpCall(
            method="POST",
            url=status.url + path(name_of(folder)),
            headers={
                "authorization": f"Bearer {token}",
                "content-type": native.CONTENT_TYPE,
                "accept": accept,
                native.REQUEST_ID_HEADER: secrets.token_hex(8),
            },
            body=body,
        )

    def _not_ready(self, handle: EndpointHandle, status: EndpointStatus) -> EndpointNotReady:
        address = f"{self._provider}/{handle.name}"
        why = status.reason or status.detail
        says = f"endpoint {address} is {status.state}" + (f": {why}" if why else "")
        gone = status.state in {EndpointState.DELETED, EndpointState.FAILED}
        return EndpointNotReady(
            says + ("; deploy it again" if gone and "deploy it again" not in says else ""),
            endpoint=address,
            hint="freelane endpoints",
        )


class LocalPredictor:
    """The port."""

    def __init__(self, root: Path, context: ProviderContext) -> None:
        self._door = LocalDoor(root, context)
        self._provider = context.name
        self._clock = context.clock

    def prepare(self, handle: EndpointHandle, request: PredictionRequest) -> HttpCall:
        try:
            body = native.encode_request(request)
        except BodyRefused as error:
            raise InvalidRequest(
                error.message, provider=self._provider, operation=_OPERATION
            ) from error
        return self._door.call(handle, native.predict_path, body)

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Prediction:
        what = f"endpoint {self._provider}/{handle.name}"
        if reply.status != _OK:
            raise error_of(
                reply,
                provider=self._provider,
                operation=_OPERATION,
                now=self._clock.now(),
                what=what,
            )
        try:
            return native.decode_reply(reply.body, reply.headers)
        except BodyRefused as error:
            raise ProviderInternal(
                f"{what}: its answer cannot be read: {error.message}",
                provider=self._provider,
                operation=_OPERATION,
                request_id=reply.headers.get(native.REQUEST_ID_HEADER),
                retryable=False,
            ) from error
