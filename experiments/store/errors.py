"""The error whose message is meant for the user."""


class UserError(Exception):
    """An error that the user can fix. The message names the file or argument and what to do, in a line or two."""


class NoData(UserError):
    """A profile has no data for a table."""
