"""The folder that a study writes into."""

import tempfile
from pathlib import Path

from gradscope.errors import RunError


def prepare_folder(out: Path) -> None:
    """Make the folder if need be, and make sure that it can be written, before an hour of training is spent.

    Raises:
        RunError: it is no folder, or cannot be made or written.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"cannot write into {out}: expected a folder, and it is a file. Give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunError(f"cannot write into {out}: {error.strerror or error}. Give another folder with --out") from error
