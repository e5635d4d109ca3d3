"""Standard output that JSON has for itself."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def json_alone(as_json: bool) -> Iterator[None]:
    """Send to stderr what a user's own code prints, here or in a worker that starts meanwhile: stdout is for JSON.

    Args:
        as_json: whether JSON was asked for; else nothing is done.

    Yields:
        Nothing.
    """
    with contextlib.ExitStack() as changed:
        if as_json:
            changed.enter_context(contextlib.redirect_stdout(sys.stderr))
            # Where one of them is closed, there is nothing to keep clean.
            with contextlib.suppress(OSError):
                kept = os.dup(1)
                changed.callback(os.close, kept)
                changed.callback(os.dup2, kept, 1)
                os.dup2(2, 1)
        yield
