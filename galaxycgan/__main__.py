"""``python -m galaxycgan`` is the console script ``galaxycgan``."""

import sys

from galaxycgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
