"""The folder that a study writes into."""

import secrets

from gradscope.errors import RunError
from gradscope.runs.places import Place, make_folder, remove, write


def prepare_folder(out: Place) -> None:
    """Make the folder if need be, and make sure that it can be written, before an hour of training is spent.

    Raises:
        RunError: it is no folder, or cannot be made or written.
    """
    try:
        make_folder(out)
        trial = out / f".{secrets.token_hex(4)}.tmp"
        write(trial, b"")
        remove(trial)
    except OSError as error:
        raise RunError(f"cannot write into {out}: {error.strerror or error}. Give another folder with --out") from error
