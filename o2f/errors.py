"""Errors in files and settings, with messages for the person who gave them."""


class InputError(ValueError):
    """A wrong file or argument. The message is one line that names it and says what to do."""
