"""`python -m perflib.service`: the same as `perflib serve`."""

import sys

from perflib.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
