"""`python -m freelane.runtime.server ORDER --listen FD --parent FD`: one endpoint's server."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from freelane.runtime.server import order as orders
from freelane.runtime.server import serving


def main(argv: Sequence[str]) -> int:
    """Serve as the order says, to the end; answers the exit code."""
    parser = argparse.ArgumentParser(prog="freelane.runtime.server")
    parser.add_argument("order", type=Path)
    parser.add_argument("--listen", type=int, help="descriptor of a listening socket")
    parser.add_argument("--parent", type=int, help="descriptor of a pipe: closed, the server ends")
    options = parser.parse_args(argv)
    try:
        order = orders.read(options.order)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"freelane: {options.order.name} is no order of a server: {error}\n")
        return serving.USAGE
    for descriptor in (options.listen, options.parent):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the model's processes need neither
    return uvloop.run(serving.serve(order, listen=options.listen, parent=options.parent))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
