"""All routes of an endpoint's server, protocol by protocol."""

import os
from collections.abc import Callable
from pathlib import Path

from freelane.runtime.server.admission import Admission
from freelane.runtime.server.counts import Counts
from freelane.runtime.server.order import Order
from freelane.runtime.server.routes import (
    gemini,
    health,
    native,
    oip,
    openai,
    ops,
    sagemaker,
    vertex,
)
from freelane.runtime.server.routes.shared import native_form
from freelane.runtime.server.table import Route


def assemble(
    order: Order, admission: Admission, counts: Counts, *, unready: Callable[[], str | None]
) -> list[Route]:
    """The routes; `unready` says why nothing is answered now, None where all is well."""
    found: list[Route] = []
    found += native.routes(
        order.name,
        admission,
        health=os.environ.get("AIP_HEALTH_ROUTE"),
        predict=os.environ.get("AIP_PREDICT_ROUTE"),
        unready=unready,
    )
    folder = None if order.async_folder is None else Path(order.async_folder)
    found += sagemaker.routes(order.name, admission, async_folder=folder)
    found += vertex.routes(order.name, admission)
    found += oip.routes(admission, unready=unready)
    found += openai.routes(order.name, admission)
    found += gemini.routes(order.name, admission)
    found += health.routes(unready, form=native_form)
    found += ops.routes(order.name, counts, lambda: found, form=native_form)
    return found
