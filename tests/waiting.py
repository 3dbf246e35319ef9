"""Waiting with a limit: a test that waits in vain fails, and says for what."""

import subprocess
import time


def until(condition, what, seconds=180):
    """Wait until ``condition()`` is true, and return what it returns. ``what`` says what is waited for."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f'waited {seconds} s in vain for {what}'
        time.sleep(0.1)
    return found


def ends_of(*processes, seconds=600):
    """Wait until all processes have ended within so many seconds; what each has printed, as (stdout, stderr).

    If one has not, all are killed, and the error has what they printed.
    """
    end = time.monotonic() + seconds
    try:
        return [process.communicate(timeout=max(end - time.monotonic(), 0.1)) for process in processes]
    except subprocess.TimeoutExpired as error:
        for process in processes:
            process.kill()
        printed = [process.communicate() for process in processes]
        raise AssertionError(f'waited {seconds} s in vain for the end of {error.cmd}: {printed}') from None
