"""``python -m include.cli``: the command line where the project is not installed, as in the images."""

import sys

from include.cli import main

if __name__ == "__main__":
    sys.exit(main())
