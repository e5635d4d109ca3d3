"""From values to one HTML file: renders a template, writes it whole or not at all."""

import base64
import hashlib
import os
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from gradscope import __version__
from gradscope.errors import RunError, UsageError
from gradscope.reporting import theme
from gradscope.reporting.tables import SYMBOLS
from gradscope.runs.places import Place, PlaceLike, Remote, as_place, write

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # A name that a template misspells is an error, a user's <script> is text.
    return Environment(
        loader=PackageLoader("gradscope.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - a template takes anything
    """Return the page: the template with the theme, the style and the script that all pages share.

    Args:
        template: name of the template, which extends `base.html`.
        values: what it shows.

    Returns:
        A whole HTML document.
    """
    script = (resources.files("gradscope.reporting") / "templates" / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            version=__version__,
            light=theme.LIGHT,
            dark=theme.DARK,
            zero_colour=theme.ZERO,
            symbols=SYMBOLS,
            script=Markup(script),
            # The browser runs this one script and no other, whatever a run's metadata may smuggle in.
            script_hash=f"sha256-{digest}",
            **values,
        )
    )


def check_target(path: PlaceLike) -> Place:
    """Return where the page will go, having made sure that it can be written: before the work, not after it.

    Args:
        path: of the HTML file, or its URL in an object store; a folder of this machine has to exist.

    Returns:
        The path.

    Raises:
        UsageError: it is a folder, a device or a pipe, or the folder that it would be in is missing.
        RunError: nothing may be written there.
    """
    target = as_place(path)
    if isinstance(target, Remote):
        return target
    if target.is_dir():
        raise UsageError(
            f"The report needs a file to write to, but {target} is a folder; try {target / 'report.html'}."
        )
    if target.exists() and not target.is_file():
        raise UsageError(f"The report needs a file to write to, but {target} is a device or a pipe; try report.html.")
    if target.is_symlink():  # What the link leads to is written, and not the link replaced.
        target = target.resolve()
    if not target.parent.is_dir():
        raise UsageError(
            f"The report cannot be written to {target}: there is no folder {target.parent}; create it first."
        )
    if not os.access(target.parent, os.W_OK):
        raise RunError(f"The report cannot be written to {target}: no permission to write in {target.parent}.")
    return target


def write_page(text: str, path: Place) -> Place:
    """Write the page whole or not at all: a failure leaves an earlier page as it was.

    Args:
        text: the document.
        path: as `check_target` returned it.

    Returns:
        The path.

    Raises:
        RunError: the system refuses; the message says why.
    """
    try:
        # A run's metadata may hold half of a surrogate pair, as names of files do that are not UTF-8.
        write(path, text.encode(errors="backslashreplace"), draft=f".{path.name}.{os.getpid()}.tmp")
    except OSError as error:
        raise RunError(f"The report cannot be written to {path}: {error.strerror or error}.") from error
    return path
