"""Puts together what stands before the routes: who may ask, what there is, what is told of it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from freelane.runtime.portable.access import Access
from freelane.runtime.portable.problems import Problem, UnsupportedType
from freelane.runtime.server.admission import Admission, log
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.table import Found, Table


class Watcher(Protocol):
    """Hears of every answer: counters, the access log, when the endpoint was last used."""

    def answered(self, exchange: Exchange, operation: str, status: int, sent: int) -> None:
        """The answer is out, or its caller is gone (499); `sent` bytes of body."""
        ...


class ServerApp:
    """The `App` of an endpoint."""

    def __init__(
        self,
        table: Table,
        access: Access,
        admission: Admission,
        watchers: Sequence[Watcher],
        *,
        on_unread: Callable[[int], None] = lambda _status: None,
    ) -> None:
        """`on_unread` hears with which status something was refused that is no request."""
        self._on_unread = on_unread
        self._table = table
        self._access = access
        self._admission = admission
        self._watchers = tuple(watchers)

    def head(self, exchange: Exchange) -> int:
        headers = exchange.headers
        self._access.check_origin(headers)
        found = self._table.find(exchange.method, exchange.path)
        exchange.app_note = found
        if not found.route.is_open:
            self._access.check_token(headers)
        if headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedType("bodies are taken uncompressed; send no Content-Encoding")
        return found.route.largest

    def body(self, exchange: Exchange) -> None:
        found = exchange.app_note
        if not isinstance(found, Found):
            raise TypeError("a body came before its head")
        try:
            found.route.answer(exchange, found.named)
        except Problem as problem:
            self._admission.refuse(exchange, problem, found.route.form)
        except Exception as error:  # noqa: BLE001 - one request's bug ends no server
            log(error, exchange.id)
            self._admission.refuse(exchange, _unforeseen(), found.route.form)

    def refuse(
        self, exchange: Exchange | None, problem: Exception
    ) -> tuple[int, str, bytes, Sequence[Header]]:
        if not isinstance(problem, Problem):
            log(problem, exchange.id if exchange else "-")
            problem = _unforeseen()
        form = self._table.form_of(exchange.path if exchange else "")
        told = form(problem, exchange.id if exchange else "-")
        if exchange is None:
            self._on_unread(told.status)
        return told.status, told.kind, told.body, (*problem.headers.items(), *told.headers)

    def finished(self, exchange: Exchange, status: int, sent: int) -> None:
        self._admission.finished(exchange)
        found = exchange.app_note
        operation = found.route.operation if isinstance(found, Found) else "none"
        for watcher in self._watchers:
            watcher.answered(exchange, operation, status, sent)


def _unforeseen() -> Problem:
    return Problem("the server failed; see its log")
