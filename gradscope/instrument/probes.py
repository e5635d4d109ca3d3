"""The dynamics of the model on a fixed batch, measured at chosen iterations of a training."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, SupportsIndex

from torch import Tensor, nn

from gradscope.instrument.guard import say
from gradscope.instrument.schedules import At
from gradscope.probing import ProbeTables, measure_model

COLUMNS = ("decay_rate", "half_life", "weight_gradient_horizon", "largest_exponent")
"""What of a probe is written into the run, as `probe.<layer>.<name>` of the iterations table."""


class ProbeAt:
    """When to probe, and on what; for `watch(probe=...)`.

    The model is probed before the forward pass of the iteration, in evaluation mode, and left as it was: its modes,
    buffers, gradients and torch's random numbers. The batch stays the same, so that probes can be compared.

    Args:
        iterations: at which; 0 is before the first update.
        inputs: what the model is called with; a tuple is several arguments.
        loss: takes what the model returns and returns one number.
        settings: `lag`, `sequences`, `exponents`, `jacobian_times`, as `gradscope.probe` takes them.
    """

    def __init__(
        self,
        iterations: Iterable[SupportsIndex],
        inputs: Any,  # noqa: ANN401 - whatever the model takes
        loss: Callable[[Any], Tensor],
        **settings: Any,  # noqa: ANN401 - they are checked where they are used
    ) -> None:
        self._when = At(iterations)
        self._inputs, self._loss, self._settings = inputs, loss, settings

    def wants(self, iteration: int) -> bool:
        """Return whether to probe before this iteration."""
        return self._when.wants(iteration)

    def measure(self, model: nn.Module) -> ProbeTables:
        """Probe the model.

        Returns:
            Its dynamics on the batch.

        Raises:
            UsageError: nothing recurrent runs in it on this batch, or the loss is none.
        """
        with _evaluating(model):
            return measure_model(model, self._inputs, self._loss, **self._settings)


class Probes:
    """Probes a model in training. An error is said once, and no more probes are made; training goes on.

    Args:
        model: in training.
        at: when and on what; None for never.

    Attributes:
        tables: iteration -> what was measured.
    """

    def __init__(self, model: nn.Module, at: ProbeAt | None) -> None:
        self.tables: dict[int, ProbeTables] = {}
        self._model: nn.Module | None = model
        self._at = at

    def forget(self) -> None:
        """Probe no more, and let the model and the batch go."""
        self._model = self._at = None

    def wants(self, iteration: int) -> bool:
        """Return whether to probe before this iteration."""
        return self._at is not None and self._model is not None and self._at.wants(iteration)

    def before(self, iteration: int) -> dict[str, float]:
        """Probe if this iteration is one of those chosen.

        Returns:
            What is written into the iteration's row, nothing if there was no probe.
        """
        if self._at is None or self._model is None or not self._at.wants(iteration):
            return {}
        try:
            self.tables[iteration] = found = self._at.measure(self._model)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self._at = None
            say(f"gradscope did not probe at iteration {iteration}, and will not again. {error}")
            return {}
        rows = found.summary.drop_duplicates("layer").to_dict("records")
        return {f"probe.{row['layer']}.{name}": float(row[name]) for row in rows for name in COLUMNS}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation: dropout would draw masks that a probe cannot see, and statistics of batches would move."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
