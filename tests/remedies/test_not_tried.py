"""Remedies that do not fit a model or a training, and arguments that cannot be meant."""

import pytest
import torch
from torch import nn

from gradscope.errors import UsageError
from gradscope.remedies.remedy import Impossible, Remedy
from gradscope.remedies.trial import try_remedies
from tests.remedies.models import Loop, Reader, tried


@pytest.mark.parametrize(
    ("factory", "remedy", "reason"),
    [
        (Reader, "forget-bias(1)", "nn.RNN has none"),
        (lambda: Reader(nn.GRU), "lstm", "the model holds no nn.RNN: it has nn.GRU"),
        (lambda: Reader(nn.LSTM), "residual", "the model holds no nn.RNN: it has nn.LSTM"),
        (lambda: Reader(nonlinearity="relu"), "residual", "only an nn.RNN with tanh"),
        (lambda: Reader(nn.LSTM), "chrono", "how far back the task looks is not known"),
        (lambda: Reader(bidirectional=True), "truncate(3)", "rnn reads in both directions"),
        (Reader, "truncate(8)", "its sequences are of 8 times"),
        (lambda: Reader(nn.LSTM, bias=False), "forget-bias(1)", "bias=False"),
    ],
)
def test_what_does_not_fit_is_not_tried(factory, remedy, reason):
    """With its reason, and in no table."""
    trials = tried(Loop(), factory, remedy, "clip-norm(1)")

    assert [each.remedy for each in trials.not_tried] == [remedy]
    assert reason in trials.not_tried[0].reason
    assert trials.table["remedy"].tolist() == ["unchanged", "clip-norm(1)"]


def test_what_acts_in_steps_is_not_tried_without_them():
    """A loop that updates by hand has no step in which to clip."""

    def train(model):
        while True:
            loss = model(torch.randn(4, 6, 2)).square().mean()
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
            yield loss

    trials = tried(train, Reader, "clip-norm(1)", "orthogonal")

    assert [each.remedy for each in trials.not_tried] == ["clip-norm(1)"]
    assert "without a torch.optim.Optimizer" in trials.not_tried[0].reason


def test_a_remedy_of_ones_own_may_refuse():
    """It is then one that was not tried."""

    class Never(Remedy):
        def prepare(self, model, lag):  # noqa: ARG002
            raise Impossible("not on a Monday")

    assert tried(Loop(), Reader, Never("never", "nothing")).not_tried[0].reason == "not on a Monday"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"remedies": ["clip-norm"]}, "what_if expects clip-norm(number), got 'clip-norm'."),
        ({"remedies": ["lstm(3)"]}, "what_if expects lstm, got 'lstm(3)'."),
        ({"remedies": ["ortogonal"]}, "what_if knows no remedy 'ortogonal', did you mean orthogonal?"),
        ({"remedies": [7]}, "what_if knows no remedy 7."),
        ({"remedies": ["truncate(2.5)"]}, "truncate(times) with a whole number above 0, got '2.5'"),
        ({"remedies": ["chrono(1)"]}, "chrono[(times)] with a number above 2, got '1'"),
        ({"remedies": []}, "at least one remedy"),
        ({"remedies": ["lstm", "lstm"]}, "tries each remedy once, got lstm twice"),
        ({"iterations": 3}, "iterations to be a whole number of at least 8, got 3"),
        ({"lag": 0}, "lag to be a whole number of at least 1, got 0"),
        ({"seeds": 1}, "seeds to be a number of at least 2"),
        ({"seeds": [4, 4]}, "seeds to be a number of at least 2"),
        ({"factory": Reader()}, "a function that makes a fresh model, got a Reader: try lambda: Model(...)"),
        ({"factory": lambda: 3}, "model_factory expects to return a torch.nn.Module, got a int"),
        ({"factory": lambda: nn.Linear(2, 1)}, "Linear has none of them"),
        ({"train": "train"}, "a generator function of the model, got a str"),
        ({"train": lambda _: None}, "and it returned None: write `yield loss` after optimizer.step()"),
        ({"train": lambda _: iter(())}, "yielded no loss"),
        ({"train": lambda _: iter([torch.ones(3)])}, "one number an iteration, got a tensor of shape (3,)"),
    ],
)
def test_what_cannot_be_meant_gets_one_message(wrong, message):
    """What was expected, and what was got."""
    arguments = {"train": Loop(), "factory": Reader, "remedies": ["orthogonal"], "iterations": 8, "seeds": 2}
    arguments |= {"lag": None, **wrong}
    with pytest.raises(UsageError) as error:
        try_remedies(arguments.pop("train"), arguments.pop("factory"), arguments.pop("remedies"), **arguments)
    assert message in str(error.value)
