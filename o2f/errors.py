"""Errors in files and settings, with messages for the person who gave them."""


class InputError(ValueError):
    """A wrong file or argument. The message is one line that names it and says what to do."""


def one_line(error: BaseException) -> str:
    """The message of an error on one line, or the name of its class if it has none."""
    return ' '.join(str(error).split()) or type(error).__name__


def of_worker(error: Exception) -> str:
    """The message of an error, without the traceback that a loader's worker puts before it."""
    lines = str(error).splitlines()
    if not lines or not lines[0].startswith('Caught '):
        return str(error)
    return lines[-1].partition(f'{type(error).__name__}: ')[2] or lines[-1]
