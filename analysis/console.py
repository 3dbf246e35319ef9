"""How the commands print."""

import io
import sys


def print_in_any_locale() -> None:
    """Have standard output take a dash, ±, × and whatever a folder is called, also where the locale knows no such
    letters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding='utf-8', errors='replace')
