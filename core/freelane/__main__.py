"""`python -m freelane` is the same command line."""

from freelane.cli.main import main

if __name__ == "__main__":
    main()
