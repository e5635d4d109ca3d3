"""`what_if`: remedies tried on the user's own training, shown where it is asked for."""

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from gradscope.remedies.comparing import NotTried, Trials
from gradscope.remedies.remedy import Remedy
from gradscope.remedies.trial import try_remedies
from gradscope.remedies.wording import effect_on_gradient, effect_on_loss, summary

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.runs.places import Place, PlaceLike

_SHOWN = {
    "remedy": "remedy",
    "half_life": "half-life [times]",
    "horizon": "horizon [times]",
    "rate_change": "change of the rate",
    "rate_change_low": "from",
    "rate_change_high": "to",
    "loss": "loss",
    "loss_change": "change of the loss",
    "loss_change_low": "from ",
    "loss_change_high": "to ",
}


@dataclass(frozen=True, eq=False, repr=False)
class WhatIf:
    """What came of trying remedies.

    Attributes:
        trials: all numbers.
    """

    trials: Trials

    @property
    def table(self) -> "pd.DataFrame":
        """One row for each remedy that was tried, the unchanged training first.

        Means over the seeds of `half_life`, `rate`, `horizon`, `share_at_lag` and `loss`, and their changes with 95 %
        intervals, paired over the seeds: `loss_change`, `loss_change_low`, `loss_change_high` and so on.
        """
        return self.trials.table

    @property
    def trainings(self) -> "pd.DataFrame":
        """One row for each training and recurrent layer."""
        return self.trials.trainings

    @property
    def losses(self) -> "pd.DataFrame":
        """`remedy`, `seed`, `iteration`, `loss`."""
        return self.trials.losses

    @property
    def not_tried(self) -> tuple[NotTried, ...]:
        """Remedies that do not fit the model, with the reason; nothing is known of them."""
        return self.trials.not_tried

    def report(self, path: "PlaceLike") -> "Place":
        """Write the page, one self-contained HTML file.

        Args:
            path: of the file.

        Returns:
            The path.
        """
        from gradscope.reporting.remedies import Subject, remedy_page

        trainings = self.trainings
        facts = {
            "seeds": sorted(set(trainings["seed"].tolist())),
            "iterations": int(trainings["iterations"].max()),
            "lag of the task": self.trials.lag,
            "trainings": len(trainings[["remedy", "seed"]].drop_duplicates()),
            "seconds": float(trainings.drop_duplicates(["remedy", "seed"])["seconds"].sum()),
        }
        return remedy_page([Subject("", self.trials)], facts, path)

    def __repr__(self) -> str:
        lines = [self._words().to_string(index=False), "", *summary(self.table)]
        lines += [f"Not tried: {each.remedy}: {each.reason}" for each in self.not_tried]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self._words().to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.3g}")
        said = [html.escape(sentence) for sentence in summary(self.table)]
        said += [f"Not tried: {html.escape(each.remedy)}: {html.escape(each.reason)}" for each in self.not_tried]
        return f"<div>{table}<ul>{''.join(f'<li>{sentence}</li>' for sentence in said)}</ul></div>"

    def _words(self) -> "pd.DataFrame":
        """Return the columns that are read, and what they come to."""
        table = self.table
        shown = table[[column for column in _SHOWN if column in table]].rename(columns=_SHOWN)
        return shown.assign(
            gradient=[effect_on_gradient(row) for _, row in table.iterrows()],
            outcome=[effect_on_loss(row) for _, row in table.iterrows()],
        )


def what_if(
    train_function: Callable[[Any], Iterable[Any]],
    model_factory: Callable[[], nn.Module],
    remedies: Sequence[str | Remedy] | None = None,
    iterations: int = 200,
    *,
    seeds: int | Sequence[int] = 5,
    lag: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> WhatIf:
    """Try remedies on your own training, and say which one moved the gradient's half-life and the loss.

        def train(model):
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in batches():
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                yield loss                      # the one line more than in any training loop

        result = gradscope.what_if(train, Model, ["clip-norm(1)", "orthogonal", "lstm"])
        result.report("what-if.html")

    The loop knows nothing of the remedies. First weights and modules are changed before it starts; gradients are
    clipped and learning rates changed inside `optimizer.step()`, after whatever the loop does itself; it is left after
    `iterations` losses. Every training starts from its seed, set for torch, numpy and Python, so that batches drawn
    from their global generators inside `train_function` are the same for every remedy; where they are not, the result
    says so.

    Args:
        train_function: your training loop as a generator: takes the model, yields the loss after each update.
        model_factory: makes a fresh model; your model's class, if it takes no arguments.
        remedies: `clip-norm(number)`, `clip-value(number)`, `orthogonal`, `identity`, `chrono` or `chrono(times)`,
            `forget-bias(number)`, `lstm`, `gru`, `residual`, `truncate(times)`, `rate-schedule`, or remedies of your
            own (`gradscope.remedies.remedy.Remedy`); None for a choice of all.
        iterations: of each training, at most; at least 8.
        seeds: how many, at least 2, or which.
        lag: how far back the task looks, for `chrono` and the share of the gradient that arrives from there.
        progress: called with the name of each remedy before it is tried, such as `print`.

    Returns:
        Tables and words; in a notebook it shows itself. What does not fit the model is listed as not tried.

    Raises:
        UsageError: an argument is wrong, or one of the functions is not of the expected form.
        RunError: a training could not be recorded.
    """
    trials = try_remedies(
        train_function,
        model_factory,
        remedies,
        iterations=iterations,
        seeds=seeds,
        lag=lag,
        said=progress or (lambda _: None),
    )
    return WhatIf(trials)
