"""`gradscope gallery`."""

from click.testing import CliRunner

from gradscope.cli import main
from gradscope.reporting.study import study_page
from tests.reporting.made import made_comparison


def test_the_list_can_be_written_alone(tmp_path):
    """From the pages that are there; nothing is run."""
    study_page(made_comparison(), tmp_path / "vanishing.html")

    done = CliRunner().invoke(main, ["gallery", "--out", str(tmp_path), "--list-only"])

    assert done.exit_code == 0, done.output
    assert done.output == f"list: {tmp_path / 'README.md'}\n"
    assert "(vanishing.html)" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["README.md", "vanishing.html"]


def test_a_study_that_fails_is_named_after_the_list_is_written(tmp_path):
    """The others keep their places in it."""
    study_page(made_comparison(), tmp_path / "vanishing.html")

    done = CliRunner().invoke(main, ["gallery", "--out", str(tmp_path), "no-such-study"])

    assert done.exit_code == 1
    assert "not run to the end, each for the reason that it said: no-such-study" in done.output
    assert (tmp_path / "README.md").is_file()
