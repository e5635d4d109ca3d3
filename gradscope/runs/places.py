"""Where runs lie: in a folder of this machine, or in an object store by URL. Nothing else knows about file systems."""

import contextlib
import errno
import os
import reprlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from gradscope.errors import UsageError
from gradscope.runs.layout import temporary_name

_AT_ONCE = 16
_CREDENTIALS = (
    "the store refuses access: it takes credentials from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or from "
    "~/.aws/credentials, and the address of a store other than Amazon's from AWS_ENDPOINT_URL"
)
# What pyarrow's messages hold -> what it means.
_MEANINGS = {
    "NO_SUCH_BUCKET": (FileNotFoundError, errno.ENOENT, "there is no such bucket: make it first, or check its name"),
    "NoSuchBucket": (FileNotFoundError, errno.ENOENT, "there is no such bucket: make it first, or check its name"),
    "ACCESS_DENIED": (PermissionError, errno.EACCES, _CREDENTIALS),
    "INVALID_ACCESS_KEY_ID": (PermissionError, errno.EACCES, _CREDENTIALS),
    "INVALID_SIGNATURE": (PermissionError, errno.EACCES, _CREDENTIALS),
    "SIGNATURE_DOES_NOT_MATCH": (PermissionError, errno.EACCES, _CREDENTIALS),
    "HTTP status 403": (PermissionError, errno.EACCES, _CREDENTIALS),
    "NETWORK_CONNECTION": (ConnectionError, errno.ECONNREFUSED, "the store cannot be reached: check AWS_ENDPOINT_URL"),
}


@dataclass(frozen=True)
class Remote:
    """A folder or file of an object store, with as much of `pathlib.Path` as gradscope uses.

    Attributes:
        scheme: such as `s3`.
        path: bucket and key.
        query: what pyarrow is to know of the store, such as `region=eu-west-1`.
    """

    scheme: str
    path: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}{f'?{self.query}' if self.query else ''}"

    def __truediv__(self, name: str) -> "Remote":
        return replace(self, path=f"{self.path}/{name}")

    @property
    def parts(self) -> tuple[str, ...]:
        """Bucket, folders and name."""
        return tuple(self.path.split("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1]

    @property
    def parent(self) -> "Remote":
        """What it lies in; a bucket lies in itself."""
        return replace(self, path=self.path.rpartition("/")[0] or self.path)

    @property
    def bucket(self) -> "Remote":
        """What all lies in."""
        return replace(self, path=self.parts[0])

    def resolve(self) -> "Remote":
        """Return it as it is: a URL depends on no current folder."""
        return self

    absolute = resolve


Place: TypeAlias = Path | Remote
Result = TypeVar("Result")
PlaceLike: TypeAlias = str | os.PathLike[str] | Remote


def as_place(given: PlaceLike) -> Place:
    """Return what a user gave as a place.

    Args:
        given: a path, or a URL such as `s3://bucket/folder` or `file:///folder`.

    Returns:
        A `Path` for what lies on this machine.

    Raises:
        UsageError: it is neither, or the URL is none that could be a place.
    """
    if isinstance(given, Remote):
        return given
    text = _as_text(given)
    if text.startswith("s3:/") and not text.startswith("s3://"):
        raise UsageError(f"{text}: a Path loses a slash of a URL. Give it as a str: s3:/{text.removeprefix('s3:')}")
    if "://" not in text:
        return Path(text)
    url = urlsplit(text)
    if url.scheme == "file" and url.netloc in {"", "localhost"} and url.path:
        return Path(unquote(url.path))
    if "@" in url.netloc:
        raise UsageError(
            f"credentials do not belong into the URL of {url.netloc.rpartition('@')[2]}: it is shown in reports. Give "
            "them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials"
        )
    place = Remote(url.scheme, f"{url.netloc}/{url.path.strip('/')}".rstrip("/"), url.query)
    if not url.netloc:
        raise UsageError(f"{text}: expected a bucket, as in {url.scheme}://bucket/folder")
    _of(place)
    return place


def _as_text(given: object) -> str:
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(text, str):
        raise UsageError(
            "expected a path as str or Path, or a URL such as s3://bucket/folder, got "
            f"{reprlib.repr(given)}, of type {type(given).__name__}"
        )
    try:
        nameable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        nameable = False
    if not nameable:
        raise UsageError(f"{text!r}: expected a path without characters that no file's name can have")
    return text


def exists(place: Place) -> bool:
    """Return whether a file or folder is there."""
    if isinstance(place, Path):
        return place.exists()
    with _in_words():
        return bool(_of(place).get_file_info(place.path).type.value)


def sizes(folder: Place) -> dict[str, int]:
    """Return what lies in a folder: name and bytes.

    Raises:
        OSError: it cannot be read; a missing one is empty in an object store, which has no folders.
    """
    if isinstance(folder, Remote):
        from pyarrow.fs import FileSelector

        with _in_words():
            found = _of(folder).get_file_info(FileSelector(folder.path, allow_not_found=True))
        return {each.base_name: each.size or 0 for each in found if each.base_name}
    inside = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            # A temporary file may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                inside[entry.name] = entry.stat().st_size
    return inside


def make_folder(folder: Place) -> None:
    """Make a folder and those above it; in an object store there is nothing to make."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def read(file: Place) -> bytes:
    """Return what is in a file."""
    if isinstance(file, Path):
        return file.read_bytes()
    with _in_words(), _of(file).open_input_stream(file.path) as stream:
        content: bytes = stream.readall()
        return content


def write(file: Place, content: bytes, draft: str | None = None) -> None:
    """Write a file whole or not at all: a reader sees what was there before, or all of the new content.

    Args:
        file: what is written; its folder is there.
        content: all of it.
        draft: name under which it is written first, where a folder of this machine holds it.
    """
    if isinstance(file, Remote):
        # An object appears when it is whole.
        with _in_words(), _of(file).open_output_stream(file.path) as stream:
            stream.write(content)
        return
    temporary = file.with_name(draft or temporary_name(file.name))
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)  # noqa: PTH105 - the one call whose atomicity we rely on
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove(file: Place) -> None:
    """Delete a file; one that is not there is as good."""
    if isinstance(file, Path):
        file.unlink(missing_ok=True)
        return
    with contextlib.suppress(FileNotFoundError), _in_words():
        _of(file).delete_file(file.path)


def seekable(file: Place) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Return what pyarrow reads parts of a file from."""
    if isinstance(file, Path):
        return file
    with _in_words():
        return _of(file).open_input_file(file.path)


def each_of(function: Callable[[Place], Result], files: Sequence[Place]) -> list[Result]:
    """Return what a function makes of each file: of many at once, where each is a journey of its own."""
    return list(stream_of(function, files))


def stream_of(function: Callable[[Place], Result], files: Sequence[Place]) -> Iterator[Result]:
    """Give what a function makes of each file, in their order, one after the other; made likewise of many at once.

    Yields:
        One result a file.
    """
    if not files or isinstance(files[0], Path):
        yield from map(function, files)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(function, files)


def _of(place: Remote) -> Any:  # noqa: ANN401
    return _file_system(place.scheme, place.bucket.path, place.query)


@lru_cache(maxsize=16)
def _file_system(scheme: str, bucket: str, query: str) -> Any:  # noqa: ANN401
    """Return pyarrow's file system; it finds credentials by itself.

    Raises:
        UsageError: pyarrow knows no such scheme.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    # One request for a small file, in place of the three that a large one is sent in.
    query = "&".join(part for part in (query, "allow_delayed_open=true" if scheme == "s3" else "") if part)
    try:
        with _in_words():
            return FileSystem.from_uri(f"{scheme}://{bucket}{f'?{query}' if query else ''}")[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(
            f"{scheme}://{bucket}: expected a folder, or a URL such as s3://bucket/folder. pyarrow says: {why}"
        ) from error


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Say what a store answers in words, as the operating system does for a folder: in the error's `strerror`.

    Yields:
        Nothing.

    Raises:
        OSError: in place of the store's, where it is known what that means.
    """
    try:
        yield
    except OSError as error:
        for sign, (kind, number, words) in _MEANINGS.items():
            if sign in str(error):
                raise kind(number, words) from error
        raise
