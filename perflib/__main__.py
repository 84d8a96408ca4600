"""`python -m perflib` is the `perflib` command. As there, modules are not imported from the working directory."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]
    from perflib.cli import main

    main()
