"""One ledger for everything that is limited: held before it is used, posted when it was.

Every function takes the connection of a transaction that a service has opened, and never commits.
Moments are handed in; on a table they are whole microseconds since 1970.
"""

from freelane.quota.ledger.closing import Closed, heartbeat, mark_sent, release, settle
from freelane.quota.ledger.expiry import expire
from freelane.quota.ledger.reservation import Reservation, State
from freelane.quota.ledger.reserving import (
    KeyReused,
    LineFull,
    balances,
    find,
    get,
    glance,
    latest_seen,
    of_operation,
    reserve,
)

__all__ = [
    "Closed",
    "KeyReused",
    "LineFull",
    "Reservation",
    "State",
    "balances",
    "expire",
    "find",
    "get",
    "glance",
    "heartbeat",
    "latest_seen",
    "mark_sent",
    "of_operation",
    "release",
    "reserve",
    "settle",
]
