"""Other first weights."""

import math

from torch import nn

from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.cells.initialisations import initialise
from gradscope.errors import UsageError
from gradscope.remedies.remedy import Impossible, Remedy, recurrent_modules


class StartingPoint(Remedy):
    """Initialises every nn.RNN, nn.LSTM and nn.GRU of the model in another way.

    Args:
        name: a key of `INITIALISATION_TABLE`.
        argument: the number that goes with it; chrono takes the task's lag where there is none.
    """

    def __init__(self, name: str, argument: float | None = None) -> None:
        entry = INITIALISATION_TABLE[name]
        written = name if argument is None else f"{name}({argument:g})"
        super().__init__(written, f"first weights: {entry.meaning}", entry.reference)
        self._initialisation, self._argument = name, argument

    def prepare(self, model: nn.Module, lag: int | None) -> None:
        """Overwrite weights.

        Raises:
            Impossible: the modules have no such gate, bias or square matrix; or chrono has no length to go by.
        """
        argument = self._argument
        if self._initialisation == "chrono" and argument is None:
            if lag is None:
                raise Impossible("how far back the task looks is not known: give lag=..., or write chrono(times)")
            argument = max(float(lag) + 1, math.nextafter(2.0, 3.0))
        for path, module in recurrent_modules(model, nn.RNN, nn.LSTM, nn.GRU):
            try:
                initialise(module, self._initialisation, argument)
            except UsageError as error:
                raise Impossible(f"{path}: {error}") from error
