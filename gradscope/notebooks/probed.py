"""`probe`: the dynamics of a model on one batch, shown where it is asked for."""

import base64
import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from gradscope.probing import ProbeTables, measure_model
from gradscope.reporting.figures.probed import (
    exponent_figure,
    jacobian_figure,
    lag_figure,
    product_figure,
    time_figure,
    truncation_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_CAPTIONS = {
    "lags": "What share of its gradient a loss time sends so many times back; dotted, 1 %.",
    "times": "Gradient of the loss with respect to the state at each time: total, by every path, and direct.",
    "exponents": "Lyapunov exponents: below 0 differences shrink and gradients vanish, above 0 they grow.",
    "jacobians": "What one time does to lengths: at most (largest singular value), and if repeated (spectral radius).",
    "products": "What all times from one to the end do to lengths at most.",
    "truncation": "How far the gradient of the recurrent weights is off if cut after so many times; dotted, 10 %.",
}
_SUMMARY = {
    "layer": "layer",
    "verdict": "verdict",
    "decay_rate": "decay rate [nats per time]",
    "half_life": "half-life [times]",
    "weight_gradient_horizon": "horizon of the weights' gradient [times]",
    "weight_sensitivity": "sensitivity to the weights",
    "gradient_change": "change of the gradient along a step",
    "largest_exponent": "largest exponent",
    "times": "times",
    "sequences": "sequences",
}


@dataclass(frozen=True, eq=False, repr=False)
class Probe:
    """The dynamics of a model's recurrences on one batch.

    Attributes:
        tables: all numbers.
    """

    tables: ProbeTables

    @property
    def summary(self) -> "pd.DataFrame":
        """One row a recurrence: verdict with its reason, decay rate, half-life, horizon, largest exponent and more."""
        return self.tables.summary

    @property
    def exponents(self) -> "pd.DataFrame":
        """Lyapunov exponents in nats per time, with their interval over the sequences."""
        return self.tables.exponents

    @property
    def jacobians(self) -> "pd.DataFrame":
        """Spectra of one-time Jacobians, and of their products up to the end, at some times."""
        return self.tables.jacobians

    @property
    def lags(self) -> "pd.DataFrame":
        """What each loss time sends so many times back."""
        return self.tables.lags

    @property
    def times(self) -> "pd.DataFrame":
        """Direct and total gradients of each time, cancellation, shares in the weights' gradient."""
        return self.tables.times

    @property
    def truncation(self) -> "pd.DataFrame":
        """How far the gradient of the recurrent weights is off if it is cut, where the loss enters at the end."""
        return self.tables.truncation

    def figures(self) -> dict[str, "Figure"]:
        """Return the figures as matplotlib has them: lags, times, exponents, jacobians, products, truncation.

        The last is there where its table has rows.
        """
        figures = {
            "lags": lag_figure(self.lags),
            "times": time_figure(self.times),
            "exponents": exponent_figure(self.exponents),
            "jacobians": jacobian_figure(self.jacobians),
            "products": product_figure(self.jacobians),
        }
        return figures | ({"truncation": truncation_figure(self.truncation)} if len(self.truncation) else {})

    def __repr__(self) -> str:
        columns = [column for column in _SUMMARY if column in self.summary]
        return f"Probe\n{self.summary[columns].to_string(index=False)}"

    def _repr_html_(self) -> str:
        shown = self.summary[list(_SUMMARY)].rename(columns=_SUMMARY)
        table = shown.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}")
        reasons = "".join(
            f"<li><b>{html.escape(row['layer'])}</b>: {html.escape(row['reason'])}</li>"
            for row in self.summary.to_dict("records")
        )
        figures = "".join(_image(figure, _CAPTIONS[name]) for name, figure in self.figures().items())
        return f"<div>{table}<ul>{reasons}</ul>{figures}</div>"


def _image(figure: "Figure", caption: str) -> str:
    """Return the figure as an image that carries itself: no id of it can meet one of the notebook's."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue().encode()).decode()
    return (
        '<figure style="display:inline-block;width:24em;margin:.5em">'
        f'<img alt="{html.escape(caption)}" src="data:image/svg+xml;base64,{encoded}" style="width:100%">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def probe(
    model: nn.Module,
    inputs: Any,  # noqa: ANN401 - whatever the model takes
    loss: Callable[[Any], Tensor],
    *,
    lag: int | None = None,
    sequences: int = 8,
    exponents: int = 8,
    jacobian_times: int = 16,
) -> Probe:
    """Run a model on a batch and say how gradients travel through each of its recurrences.

        gradscope.probe(model, x, lambda output: criterion(output, y))

    nn.RNN, nn.GRU and nn.LSTM are taken layer by layer and direction by direction, loops over nn.RNNCell, nn.GRUCell,
    nn.LSTMCell and registered cells as one recurrence each. The model is left as it was: no gradient is accumulated, no
    hook stays, buffers and random numbers are put back. Its mode is not changed: call `model.eval()` before if layers
    drop out.

    The time it takes grows with T^2 where the loss enters at T times, and with T * state^3 for the Jacobians.

    Args:
        model: holds recurrent modules.
        inputs: what it is called with; a tuple is several arguments.
        loss: takes what the model returns and returns one number.
        lag: how far back the task has to look, which the verdict is judged by; the whole sequence if None.
        sequences: how many sequences of the batch are measured, the first ones.
        exponents: how many of the leading Lyapunov exponents.
        jacobian_times: at how many times the spectra of Jacobians are taken.

    Returns:
        Tables and figures; in a notebook it shows itself.

    Raises:
        UsageError: nothing recurrent ran, the loss is no differentiable number, or an argument is out of range.
    """
    return Probe(
        measure_model(
            model,
            inputs,
            loss,
            lag=lag,
            sequences=sequences,
            exponents=exponents,
            jacobian_times=jacobian_times,
        )
    )
