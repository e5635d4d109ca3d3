"""IDX files, the format of MNIST and Fashion-MNIST."""

import gzip
import math
from pathlib import Path

import numpy as np

from gradscope.errors import UsageError

_UNSIGNED_BYTE = 8
_GZIP = b"\x1f\x8b"


def find_idx(folder: Path, part: str, what: str) -> Path:
    """Find one of the four files, under any of its usual names.

    Args:
        folder: where to look.
        part: `train` or `t10k`.
        what: `images` or `labels`.

    Returns:
        Its path.

    Raises:
        UsageError: it is not there.
    """
    dimensions = 3 if what == "images" else 1
    names = [f"{part}-{what}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UsageError(f"there is no {names[0]} in {folder}: expected the four IDX files of MNIST, also as .gz")
    return found


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, compressed or not.

    Args:
        path: of the file.

    Returns:
        The array that it holds.

    Raises:
        UsageError: it cannot be read, or is no such file.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (OSError, EOFError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE:
        raise UsageError(f"{path} is no IDX file of unsigned bytes: it begins with {raw[:4].hex(' ')}")
    dimensions = raw[3]
    begin = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(raw[4:begin], dtype=">u4"))
    if len(shape) != dimensions or len(raw) - begin != math.prod(shape):
        raise UsageError(f"{path} is cut short: it says {shape} bytes, and {len(raw) - begin} follow")
    return np.frombuffer(raw, dtype=np.uint8, offset=begin).reshape(shape)
