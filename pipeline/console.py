"""What scripts print: without passwords, and what becomes of it on a full disk, or in a pipe that nobody reads."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable

NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)


def exit_code(main: Callable[[], int]) -> int:
    """The exit code of `main`; 2, with one line of stderr, where a write found no place."""
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
