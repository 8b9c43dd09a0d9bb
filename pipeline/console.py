"""How scripts run and end; what they print: without passwords, on a full disk, or in a pipe that nobody reads."""

from __future__ import annotations

import errno
import gc
import os
import re
import sys
from collections.abc import Callable

# Python looks for cycles of objects whenever so many were made. At its default the search takes a sixth of the time of
# imports, which make hundreds of thousands that stay; memory grows by a few per cent.
OBJECTS_MADE = 50_000
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)


def exit_code(main: Callable[[], int]) -> int:
    """The exit code of `main`; 2, with one line of stderr, where a write found no place."""
    gc.set_threshold(OBJECTS_MADE)
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        print(f"error: {error.filename or 'standard output'}: cannot be written ({error.strerror})", file=sys.stderr)
        # the interpreter flushes what is left when it ends, and would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    return code


def without_passwords(text: str) -> str:
    """The text with `***` for the password of each address in it."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
