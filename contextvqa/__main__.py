"""`python -m contextvqa`."""

import sys

from contextvqa.cli import main

if __name__ == "__main__":
    sys.exit(main())
