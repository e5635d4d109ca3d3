"""What a notebook shows of a probe."""

import base64
import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from torch import nn

from gradscope.notebooks import probe
from tests.probing.models import Loop, Tagger

pytestmark = pytest.mark.xdist_group("probed")


@pytest.fixture(scope="module")
def probed():
    """An LSTM in two directions with a loss at every time."""
    torch.manual_seed(0)
    model = Tagger(nn.LSTM(2, 4, bidirectional=True))
    return probe(model, torch.randn(30, 3, 2), lambda y: y.square().mean(), lag=20)


def test_every_figure_draws_every_recurrence(probed):
    """One line and one entry in the legend each, from the tables' own numbers; nothing is left open in pyplot."""
    figures = probed.figures()

    assert list(figures) == ["lags", "times", "exponents", "jacobians", "products"]
    for figure in figures.values():
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rnn.l0", "rnn.l0_reverse"]
    line = figures["lags"].axes[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), probed.lags[probed.lags["layer"] == "rnn.l0"]["share"])
    assert matplotlib.pyplot.get_fignums() == []


def test_a_loss_at_the_end_has_a_figure_of_truncation():
    """One line, from the table's own numbers."""
    probed = probe(nn.GRU(2, 4), torch.randn(12, 3, 2), lambda y: y[0][-1].square().mean())
    line = probed.figures()["truncation"].axes[0].lines[0]

    # The first time adds nothing, where the state before it is 0: of twelve times eleven are the whole gradient.
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 11))
    np.testing.assert_array_equal(line.get_ydata(), probed.truncation["relative_error"][:10])
    assert "cut after so many times" in probed._repr_html_()


def test_a_notebook_gets_a_table_the_reasons_and_the_figures(probed):
    """Well-formed HTML that asks for nothing from elsewhere."""
    page = probed._repr_html_()

    ET.fromstring(re.sub(r"(<img[^>]*[^/])>", r"\1/>", page))
    assert "rnn.l0_reverse" in page
    assert "vanishing" in page
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(images) == 5
    for image in images:
        assert b"<svg" in base64.b64decode(image)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_terminal_gets_the_summary(probed):
    """One line a recurrence."""
    lines = repr(probed).splitlines()
    assert lines[0] == "Probe"
    assert len(lines) == 4
    assert "half_life" in lines[1]


def test_names_of_the_users_are_text():
    """A module may be called anything."""
    model = nn.ModuleDict({"<b>": nn.GRU(1, 2)})
    page = probe(_Calling(model, "<b>"), torch.randn(6, 2, 1), lambda y: y[0].sum())._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>.l0" not in page


class _Calling(nn.Module):
    def __init__(self, modules, name):
        super().__init__()
        self.held, self.name = modules, name

    def forward(self, x):
        return self.held[self.name](x)


def test_what_arrives_nowhere_still_shows():
    """A loss that does not depend on the recurrence: zeros, no half-life, figures all the same."""
    model = Loop(nn.GRUCell(2, 4))
    shown = probe(model, torch.randn(6, 2, 2), lambda y: 0 * y.sum())
    assert not shown.times["total_gradient_norm"].any()
    assert shown._repr_html_().count("<img") == 5
