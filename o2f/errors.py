"""What a file or a setting can have wrong, in words for the person who gave it."""


class InputError(ValueError):
    """A file or an argument that its owner can put right. The message names it and says what to do, in one line."""
