"""What every test runs under."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.examples import examples

# Before torch is imported: the suite runs a process a core, and threads beyond that only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("gradscope", examples(60))
hypothesis.settings.load_profile("gradscope")


@pytest.fixture
def store(monkeypatch):
    """An object store with an empty bucket, `s3://bucket`, that this process and those it starts find and may use."""
    from gradscope.runs import places
    from tests.fake_s3 import running_store

    with running_store() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        places._file_system.cache_clear()
        yield running
    places._file_system.cache_clear()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, one for all tests, by playwright. Where it is missing they skip, and fail where CI is true."""
    path = shutil.which("chromium")
    if path is None:
        words = "needs Debian's chromium (apt-get install chromium), and there is none on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(f"This test {words}")
        pytest.skip(words)
    from playwright.sync_api import sync_playwright

    quiet = ["quic", "component-update", "sync", "background-networking"]
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def unexpected_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Warnings of gradscope's own that the test did not wait for: it fails by them.

    Warnings are errors here, and where they are, gradscope prints its own: they must not end a training.

    Yields:
        What was said so far; a test that means it clears the list.
    """
    said: list[str] = []

    def remember(message: str, **options: Any) -> None:
        said.append(message)
        print(message, **options)

    guard = sys.modules.get("gradscope.instrument.guard")
    if guard is not None:
        monkeypatch.setattr(guard, "print", remember, raising=False)
    yield said
    assert said == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and PyTorch sees none"))


def pytest_collection_finish() -> None:
    """Keep what was imported out of Python's garbage collections: tests ask for some hundred, at 0.2 s each."""
    gc.collect()
    gc.freeze()
