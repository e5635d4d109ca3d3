"""Serves the pages of one folder to browsers of this machine."""

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from gradscope.cli.page_index import index_page

_LOOPBACK = "127.0.0.1"
_OWN_NAMES = {_LOOPBACK, "localhost", "::1"}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def pages_of(folder: Path) -> list[str]:
    """Return the names of the pages in a folder, in order.

    Raises:
        OSError: it cannot be read.
    """
    root = folder.resolve()
    return sorted(each.name for each in root.iterdir() if page_at(root, each.name) is not None)


def page_at(root: Path, path: str) -> Path | None:
    """Return the page that a path below a folder leads to; None if it is no page, or lies outside.

    Args:
        root: the folder, resolved.
        path: without quoting, its parts with slashes between.
    """
    parts = path.split("/")
    hidden = any(part.startswith(".") or not part for part in parts)
    if hidden or not path.endswith(".html") or "\\" in path or "\0" in path:
        return None
    try:
        page = root.joinpath(*parts).resolve()
        return page if page.is_relative_to(root) and page.is_file() else None
    except (OSError, RuntimeError, ValueError):  # Links in a circle, names that are too long: nothing to serve.
        return None


class PageServer(ThreadingHTTPServer):
    """A server on the loopback address alone.

    Args:
        folder: whose pages.
        port: 0 for one that is free.

    Raises:
        OSError: the port is taken, or may not be used.
    """

    daemon_threads = True
    allow_reuse_port = False  # Two servers would share a port, and answer in turns.

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__((_LOOPBACK, port), partial(_Pages, directory=str(folder.resolve())))

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{_LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as of socketserver
        """Say nothing: a browser that hangs up early is no error."""


class _Pages(SimpleHTTPRequestHandler):
    server_version, sys_version = "gradscope", ""
    timeout = 30  # Seconds for a request to arrive.

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Answer with a page or the list of all, if this machine's browser asked for this machine.

        Returns:
            What follows the headers; None where an error was sent.
        """
        if not self._asked_for_this_machine():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This is served to this machine under its own name only")
            return None
        root, path = Path(self.directory), unquote(urlsplit(self.path).path).removeprefix("/")
        try:
            page = page_at(root, path)
            if page is not None:
                return self._send(page.read_bytes())
            if path == "":
                return self._send(index_page(root, pages_of(root)).encode(errors="replace"))
        except OSError:  # Gone, or nobody's to read.
            pass
        self.send_error(HTTPStatus.NOT_FOUND, "There is no such page")
        return None

    def end_headers(self) -> None:
        """Add what every answer says."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal shows the address alone."""

    def _asked_for_this_machine(self) -> bool:
        # A page of the web may have its name resolved to this machine, and then read what is served here as its own.
        asked = self.headers.get_all("Host") or []
        try:
            return len(asked) == 1 and urlsplit(f"//{asked[0]}").hostname in _OWN_NAMES
        except ValueError:
            return False

    def _send(self, content: bytes) -> BytesIO:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return BytesIO(content)
