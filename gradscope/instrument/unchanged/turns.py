"""Whose step ends an iteration, where a script has several optimisers or makes them anew."""

import weakref

from torch.optim import Optimizer

from gradscope.instrument.recorder import Recorder
from gradscope.instrument.unchanged.together import parameters_of


class Turns:
    """Lets the optimisers that really step end the iterations of a recorder.

    Who is the last in an iteration is not known in advance: at first it is taken to be the one that was made last. One
    that steps a second time before that one has, in its place, or that was made later, is the last from there on.

    Args:
        recorder: whose iterations.
        parameters: identities of those that it watches.
        optimizers: that it was begun with.
    """

    def __init__(self, recorder: Recorder, parameters: set[int], optimizers: list[Optimizer]) -> None:
        self._recorder, self._parameters = recorder, parameters
        self._order = [weakref.ref(each) for each in optimizers]
        self._stepped: list[Optimizer] = []
        self.are_needed = len(optimizers) > 1

    def concern(self, optimizer: Optimizer) -> bool:
        """Return whether an optimiser updates what is watched; from now on its steps have to be told if so."""
        concerned = bool(self._parameters & parameters_of(optimizer))
        self.are_needed |= concerned
        return concerned

    def before_step(self, optimizer: Optimizer) -> None:
        """Take note of a step of any optimiser, before its own hooks are called."""
        order = [each for reference in self._order if (each := reference()) is not None]
        if order and optimizer is order[-1]:
            self._stepped.clear()
            return
        own = parameters_of(optimizer)
        instead_of_last = bool(order) and not own.isdisjoint(parameters_of(order[-1]))
        if _is_in(optimizer, order) and not instead_of_last and not _is_in(optimizer, self._stepped):
            self._stepped.append(optimizer)
        elif own & self._parameters:
            # Others of the same parameters were replaced by this one, as far as one can tell.
            beside = [each for each in order if own.isdisjoint(parameters_of(each))]
            self._recorder.go_on_with(*beside, optimizer)
            self._order = [weakref.ref(each) for each in (*beside, optimizer)]
            self._stepped.clear()


def _is_in(optimizer: Optimizer, others: list[Optimizer]) -> bool:
    return any(optimizer is each for each in others)
