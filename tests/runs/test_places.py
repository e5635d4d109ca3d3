"""Runs by URL: the same run as in a folder, and one message where that cannot be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import gradscope
from gradscope.cli import main
from gradscope.errors import RunError, UsageError
from gradscope.runs import RunWriter, open_run, places
from gradscope.runs.places import Remote, as_place
from tests.planted import flush

URL = "s3://bucket/runs/demo"


def _write(path, flushes=3, close=True, **options):
    writer = RunWriter(path, {"model": "Reader"}, **options)
    for number in range(flushes):
        writer.write(flush(number, np.full((4, 3), number + 1.0)))
    if close:
        writer.close({"recorded": flushes})
    return writer


def _tables(run):
    return {name: getattr(run, name) for name in ("iterations", "timesteps", "parameters", "gates")}


@pytest.mark.parametrize("close", [True, False])
def test_a_run_in_a_store_is_the_run_in_a_folder(store, tmp_path, close):
    """Closed or still written: the same tables, norms and metadata, and as many files."""
    _write(tmp_path / "demo", close=close)
    _write(URL, close=close)

    here, there = open_run(tmp_path / "demo"), open_run(URL)

    assert (there.complete, there.metadata, there.layers) == (here.complete, here.metadata, here.layers)
    for name, table in _tables(here).items():
        pd.testing.assert_frame_equal(_tables(there)[name], table)
    layer = here.timesteps["layer"].iloc[0]
    np.testing.assert_array_equal(there.sequence_norms(layer, 2), here.sequence_norms(layer, 2))
    assert len([name for name in store.objects if "demo/" in name]) == len(list((tmp_path / "demo").iterdir()))
    assert str(there.path) == URL


def test_each_part_is_one_request(store):
    """A put is whole or not at all; what would go in several requests could be cut off between them."""
    _write(URL, flushes=2)

    assert "POST" not in {request.split()[0] for request in store.requests}
    puts = [request for request in store.requests if request.startswith("PUT") and ".parquet" in request]
    assert len(puts) == len(set(puts)) == len([name for name in store.objects if name.endswith(".parquet")])


def test_a_flush_that_was_cut_off_is_not_there(store):
    """A writer killed before its last put, the mark, leaves the run as it was one flush before."""
    _write(URL, close=False)
    marks = sorted(name for name in store.objects if "/iterations-" in name)
    del store.objects[marks[-1]]

    run = open_run(URL)

    assert list(run.iterations["iteration"]) == [0, 1]
    assert set(run.timesteps["iteration"]) == {0, 1}


def test_a_damaged_object_is_named(store):
    """Its URL and what is wrong with it."""
    _write(URL)
    name = next(name for name in store.objects if "/timesteps-" in name)
    store.objects[name] = store.objects[name][:-10]

    with pytest.raises(RunError, match=rf"The part s3://bucket/{name} is damaged: it has \d+ bytes where"):
        open_run(URL)


def test_a_run_is_replaced_only_when_asked(store):
    """As in a folder: the first call is refused, the second replaces all parts; foreign objects are left alone."""
    _write(URL)
    with pytest.raises(RunError, match=f"There is a run at {URL} already"):
        RunWriter(URL, {})
    _write(URL, flushes=1, overwrite=True)
    assert list(open_run(URL).iterations["iteration"]) == [0]
    assert len([name for name in store.objects if "/iterations-" in name]) == 1

    store.objects["thesis/chapter.tex"] = b"years of work"
    with pytest.raises(RunError, match="not empty and is not a run"):
        RunWriter("s3://bucket/thesis", {}, overwrite=True)


@pytest.mark.slow
def test_a_training_is_watched_reported_and_diagnosed_by_url(store, tmp_path):
    """watch(run=URL), then the commands `report` and `diagnose` with it; the page may go into the store too."""
    torch.manual_seed(0)
    rnn = nn.RNN(2, 4)
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    with gradscope.watch(rnn, optimizer, run=URL, schedule=1) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            loss = rnn(torch.randn(10, 3, 2))[0][-1].square().mean()
            loss.backward()
            recorder.log(loss=loss)
            optimizer.step()

    words = ["report", URL, "-o"]
    for target in (str(tmp_path / "demo.html"), "s3://bucket/demo.html"):
        assert CliRunner().invoke(main, [*words, target]).output == f"{target}\n"

    assert open_run(URL).complete
    assert store.objects["demo.html"] == (tmp_path / "demo.html").read_bytes()
    told = CliRunner().invoke(main, ["diagnose", URL])
    assert told.exit_code == 0
    assert told.output.startswith(f"{URL}\n3 iterations, 3 with gradients recorded")


def test_places_are_paths_or_urls(store, tmp_path):
    """What lies on this machine is a Path, by file:// too; the rest of a URL goes to pyarrow."""
    assert as_place("runs/demo") == Path("runs/demo")
    assert as_place(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    place = as_place("s3://bucket/runs/demo/?region=eu-west-1")
    assert place == Remote("s3", "bucket/runs/demo", "region=eu-west-1")
    assert str(place / "run.json") == "s3://bucket/runs/demo/run.json?region=eu-west-1"
    assert str(place.parent.parent.parent) == "s3://bucket?region=eu-west-1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("s4://bucket/runs", "s4://bucket: expected a folder, or a URL such as s3://bucket/folder"),
        ("s3:///runs", "expected a bucket, as in s3://bucket/folder"),
        ("s3://bucket/runs?speed=9", "Unexpected query parameter in S3 URI: 'speed'"),
        ("s3://key:secret@bucket/runs", "credentials do not belong into the URL of bucket"),
        (Path("s3://bucket/runs"), "a Path loses a slash of a URL. Give it as a str: s3://bucket/runs"),
    ],
)
def test_a_wrong_url_is_wrong_usage(given, said):
    """One message with what is expected; a secret is never shown."""
    with pytest.raises(UsageError) as caught:
        as_place(given)

    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("given", [123, None, b"runs/demo", ["runs/demo"]])
def test_what_is_no_path_is_wrong_usage(given):
    """To who writes and to who reads: what was expected, what was got, and no traceback of a file system."""
    for use in (lambda: RunWriter(given, {}), lambda: open_run(given)):
        with pytest.raises(
            UsageError, match="expected a path as str or Path, or a URL such as s3://bucket/folder, got"
        ):
            use()


@pytest.mark.parametrize("given", ["a\0b", Path("a\0b"), "\ud800", "s3://bucket/a\0b"])
def test_a_name_that_no_file_can_have_is_wrong_usage(given):
    """The name is shown so that it can be seen."""
    with pytest.raises(UsageError, match="expected a path without characters that no file's name can have") as caught:
        as_place(given)

    assert str(caught.value).startswith(repr(str(given)))


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("s3://elsewhere/demo", {}, "there is no such bucket"),
        (URL, {"AWS_ACCESS_KEY_ID": "a-stranger"}, "the store refuses access: it takes credentials from AWS_ACCESS"),
    ],
)
def test_a_store_that_refuses_is_one_message(store, monkeypatch, url, environment, said):
    """Missing bucket, wrong credentials: what, where and what to try, to who writes and who reads."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    places._file_system.cache_clear()

    with pytest.raises(RunError) as writing:
        RunWriter(url, {})
    with pytest.raises(RunError) as reading:
        open_run(url)

    assert str(writing.value).startswith(f"Cannot write the run {url}: {said}")
    assert url in str(reading.value)
    assert said in str(reading.value)


def test_a_store_that_does_not_answer_is_one_message(store, monkeypatch):
    """After pyarrow has tried three times: the URL, and where the address comes from."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    places._file_system.cache_clear()

    with pytest.raises(RunError, match=rf"Cannot write the run {URL}: the store cannot be reached: check AWS_ENDPOINT"):
        RunWriter(URL, {})


def test_an_empty_place_is_no_run(store):
    """The URL, and what was expected."""
    with pytest.raises(RunError, match=rf"There is no run at {URL}: it has no run.json\."):
        open_run(URL)
