"""Errors that are reported to the user as a message, without a traceback."""

import errno


class InputError(ValueError):
    """Invalid user input; the message says what was expected, what was found and what to do."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether a write failed for lack of space, a quota or a limit on the file size."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
