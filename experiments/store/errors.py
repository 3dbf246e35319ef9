"""The one kind of error whose message is meant for the person at the terminal."""


class UserError(Exception):
    """Something the user can put right. The message names the file or argument, and what to do, in a line or two."""
