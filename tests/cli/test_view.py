"""`gradscope view`: what is opened, what is served, and what is refused."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gradscope.cli import main, view
from gradscope.cli.page_index import index_page
from gradscope.cli.page_server import PageServer
from gradscope.runs.layout import RUN_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pages, beside and around them what must not be read."""
    folder = tmp_path / "reports"
    (folder / "sub").mkdir(parents=True)
    (folder / "first.html").write_text("<p>first</p>", encoding="utf-8")
    (folder / "a & b.html").write_text("<p>second</p>", encoding="utf-8")
    (folder / "sub" / "deep.html").write_text("<p>deep</p>", encoding="utf-8")
    for secret in ("secret.html", "reports/notes.txt", "reports/.hidden.html"):
        (tmp_path / secret).write_text("secret", encoding="utf-8")
    (folder / "outside.html").symlink_to(tmp_path / "secret.html")
    (folder / "linked.html").symlink_to("first.html")
    (folder / "circle.html").symlink_to("circle.html")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.html")
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[PageServer]:
    """A server of that folder."""
    with PageServer(folder, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _asked(server: PageServer, path: str, host: str | None = "", method: str = "GET") -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content, answer.headers


def _view(*words: object) -> Result:
    return CliRunner().invoke(main, ["view", *map(str, words)])


def test_pages_are_served_as_they_are(server: PageServer) -> None:
    """Pages of the folder, below it and through links within it, whatever is in the query."""
    pages = {
        "/first.html": "first",
        "/a%20%26%20b.html?x=1": "second",
        "/sub/deep.html": "deep",
        "/linked.html": "first",
    }
    for path, text in pages.items():
        status, content, headers = _asked(server, path)
        assert (status, content) == (200, f"<p>{text}</p>")
        assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert _asked(server, "/first.html", method="HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret.html", "/%2e%2e/secret.html", "/sub/../../secret.html", "/..%2fsecret.html", "//etc/passwd"),
        *("/outside.html", "/up/secret.html", "/circle.html", "/pipe.html", "/.hidden.html", "/notes.txt", "/sub/"),
        *("/none.html", "/first.html/", "/first.html%00.html", "/..\\secret.html", "/" + "a" * 5000 + ".html"),
    ],
)
def test_nothing_else_is_served(path: str, server: PageServer) -> None:
    """What lies outside, is hidden, or is no page."""
    status, content, _ = _asked(server, path)
    assert status == 404
    assert "secret" not in content.replace("secret.html", "")


def test_the_list_names_every_page_and_no_other(server: PageServer) -> None:
    """Of a folder without README.md, in order, with names that HTML and addresses have signs of."""
    status, content, headers = _asked(server, "/")
    assert status == 200
    links = ['<a href="a%20%26%20b.html">a &amp; b.html</a>', '<a href="first.html">first.html</a>']
    assert [content.index(link) for link in links] == sorted(content.index(link) for link in links)
    assert content.count("<a ") == 3  # and linked.html
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_list_is_the_readme_where_it_leads_to_pages(folder: Path) -> None:
    """As the gallery writes it; pages that it does not name come after it."""
    (folder / "README.md").write_text(
        "# What the studies found\n\nFrom `gradscope\ngallery`.\n\n- [The <first> \\[one\\]](first.html): why?\n"
        "  Because a\\_b < c.\n- [second](a%20%26%20b.html): x\n- [bad](javascript:alert(1))\n",
        encoding="utf-8",
    )
    written = index_page(folder, ["a & b.html", "first.html", "more.html"])
    assert "<h1>What the studies found</h1><p>From <code>gradscope\ngallery</code>.</p>" in written
    assert '<li><a href="first.html">The &lt;first&gt; [one]</a>: why?<br>Because a_b &lt; c.</li>' in written
    assert '<h2>Other pages</h2><ul><li><a href="more.html">more.html</a></li></ul>' in written
    assert "javascript:" not in written.replace("](javascript:", "")
    assert "<h1>What" not in index_page(folder, ["more.html"])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("127.0.0.1", 200), ("LOCALHOST:80", 200), ("[::1]:9", 200)),
        *(("evil.example", 421), ("127.0.0.1.evil.example", 421), ("evil.example:80@localhost", 200), (None, 421)),
        ("[", 421),
    ],
)
def test_who_asks_for_another_machine_is_refused(host: str | None, status: int, server: PageServer) -> None:
    """A site whose name leads to this machine reads nothing."""
    answered, content, _ = _asked(server, "/first.html", host)
    assert answered == status
    assert ("first" in content) == (status == 200)


def test_only_this_machine_is_listened_to(server: PageServer) -> None:
    """The loopback address, and no other."""
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_file_is_opened_as_it_lies_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an address that needs no server; printed alone if asked."""
    opened: list[str] = []
    monkeypatch.setattr(view.webbrowser, "open", lambda address: not opened.append(address))  # type: ignore[func-returns-value]
    address = (folder / "a & b.html").as_uri()
    assert (_view(folder / "a & b.html").output, opened) == (f"{address}\n", [address])
    assert (_view(folder / "a & b.html", "--no-browser").output, opened) == (f"{address}\n", [address])


def test_a_machine_without_a_browser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is said, to be opened elsewhere."""
    monkeypatch.setattr(view.webbrowser, "open", lambda _: False)
    done = _view(folder / "first.html")
    assert done.exit_code == 1
    assert f"there is no browser here: open {(folder / 'first.html').as_uri()}" in done.output


def test_mistakes_are_one_message(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what to do."""
    assert view._RUN_FILE == RUN_FILE
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RUN_FILE).write_text("{}", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mistakes = {
            (tmp_path / "nowhere",): (1, "does not exist: gradscope study NAME writes pages"),
            (tmp_path / "run",): (2, f"gradscope report {tmp_path / 'run'} makes one"),
            (tmp_path / "run" / RUN_FILE,): (2, f"gradscope report {tmp_path / 'run'} makes one"),
            (folder / "notes.txt",): (2, "expected a file that ends in .html"),
            (folder / "up" / "run" / "..",): (1, None),
            (folder / "first.html", "--port", 1234): (2, "--port is for a folder"),
            (folder, "--port", port): (1, f"cannot serve on port {port}: Address already in use. Give another"),
            ("s3://bucket/reports",): (2, "expected a file or a folder"),
        }
        (folder / "up" / "secret.html").unlink()
        for words, (code, said) in mistakes.items():
            done = _view(*words, "--no-browser")
            assert done.exit_code == code, words
            assert (said or "there is no page in") in done.output
            assert done.output.count("Error:") == 1
    monkeypatch.chdir(tmp_path / "run")
    assert "reports does not exist" in _view().output


@pytest.mark.slow
def test_ctrl_c_ends_it(folder: Path, tmp_path: Path) -> None:
    """A folder is served by a process that imports nothing heavy, its browser opened, until Ctrl-C: no traceback."""
    code = (
        "import sys; from gradscope.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({'torch', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    browser = f"{sys.executable} -c \"import sys; open({str(tmp_path / 'opened')!r}, 'w').write(sys.argv[1])\" %s"
    words = [sys.executable, "-c", code, "view", str(folder)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "BROWSER": browser}
    ) as serving:
        assert serving.stdout is not None
        address = serving.stdout.readline().strip()
        port = int(address.removeprefix("http://127.0.0.1:").removesuffix("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/first.html")
        assert connection.getresponse().read() == b"<p>first</p>"
        connection.close()
        while not (tmp_path / "opened").exists() or not (tmp_path / "opened").read_text():
            assert serving.poll() is None
        serving.send_signal(signal.SIGINT)
        said, errors = serving.communicate(timeout=20)
    assert (serving.returncode, said, errors) == (0, "[]\n", "Ctrl-C ends it.\n\n")
    assert (tmp_path / "opened").read_text() == address


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.xdist_group("browser")
def test_a_browser_goes_from_the_list_to_a_page(chromium: Any, folder: Path, server: PageServer) -> None:
    """A real one: without anything to complain of."""
    (folder / "a & b.html").write_text('<link rel="icon" href="data:,"><p>second</p>', encoding="utf-8")
    tab = chromium.new_context().new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(server.address)
    tab.click("text=a & b.html")
    assert tab.inner_text("p") == "second"
    tab.context.close()
    assert said == []
