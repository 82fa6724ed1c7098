"""``python -m fastals COMMAND …``, and where the console script begins; see fastals.cli."""

import sys

from .cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
