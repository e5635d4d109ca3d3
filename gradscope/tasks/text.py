"""Where the text of the character task comes from, and what is refused."""

import hashlib
from pathlib import Path
from pydoc_data.topics import topics

from gradscope.errors import UsageError

# Below this a network learns the text by heart in a few iterations, and its loss says nothing.
SHORTEST = 1000


def read_text(path: str | Path | None = None) -> str:
    """Read the user's text, or Python's own documentation if there is none: 465,000 characters of English.

    Args:
        path: a UTF-8 file; None or "" for the built-in text.

    Returns:
        The whole text.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, or is too short to learn from.
    """
    if not path:
        return "\n".join(topics[name] for name in sorted(topics))
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: byte {error.start} cannot be read. Save it as UTF-8, or give another file"
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot read the text {path}: {error.strerror or error}. Give the path of a UTF-8 text file"
        ) from error
    if len(text) < SHORTEST:
        raise UsageError(
            f"{path} has {len(text)} characters; next-character prediction needs at least {SHORTEST}. "
            "Give a longer text"
        )
    if len(set(text)) == 1:
        raise UsageError(f"{path} holds one character only, again and again: there is nothing to predict")
    return text


def digest_text(text: str) -> str:
    """Return the first 16 hexadecimal digits of the text's SHA-256: the same text, the same digest."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
