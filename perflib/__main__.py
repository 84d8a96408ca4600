"""`python -m perflib` is the `perflib` command."""

from perflib.cli import main

if __name__ == "__main__":
    main()
