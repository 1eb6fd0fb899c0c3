"""`python -m freelane` is the same command line."""

import sys

from freelane.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
