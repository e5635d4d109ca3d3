"""Takes the pictures of README.md out of vanishing.html: `make pictures`, after that page was written anew."""

import io
from pathlib import Path
from shutil import which

from PIL import Image
from playwright.sync_api import sync_playwright

_FOLDER = Path(__file__).parent
_WIDTH, _MARGIN, _COLOURS = 900, 20, 96


def main() -> None:
    """Write one for each theme: the first figure of gradient against lag."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"))
        for theme in ("light", "dark"):
            size = {"width": _WIDTH, "height": 900}
            page = browser.new_page(color_scheme=theme, viewport=size, device_scale_factor=1.5)
            page.goto((_FOLDER / "vanishing.html").as_uri())
            figure = page.locator("section#lags figure").first
            figure.evaluate(f"figure => figure.style.padding = '{_MARGIN}px'")
            picture = Image.open(io.BytesIO(figure.screenshot()))
            picture.quantize(_COLOURS).save(_FOLDER / f"vanishing-{theme}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
