"""The command line: thin verbs (`cli.root`), and what becomes of their errors."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; errors become a few lines on standard error and an exit code ≠ 0."""
    try:
        from mrsynth.cli.failures import say_all, tell

        say_all()
    except KeyboardInterrupt:  # before there was anything to stop
        sys.exit(130)
    try:
        from mrsynth.cli.root import app

        app()
    except KeyboardInterrupt as error:
        sys.exit(tell(error))
    except SystemExit as stop:
        if stop.code == 130:
            tell(KeyboardInterrupt())
        raise
    except Exception as error:
        sys.exit(tell(error))
