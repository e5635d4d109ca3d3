"""The words that the pages use, explained for readers who meet them for the first time."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("time", "The position in a sequence, 0 to T - 1. An iteration is one step of the optimiser."),
    (
        "total gradient",
        "dL/dh at a time: how the loss changes with the hidden state there, by every path through later times. Its "
        "size is what decides whether the model can learn from that time. Verdicts look at all that the recurrence "
        "carries: for an LSTM at the hidden state and the cell state together.",
    ),
    (
        "direct gradient",
        "The part of it that reaches the state at its own time, from the loss alone. It is what a hook on the "
        "output of a recurrent layer shows; with a loss at the last time it is zero everywhere else.",
    ),
    ("lag", "How many times back from the last time: lag 0 is the last time itself."),
    (
        "half-life",
        "The number of times after which half of the gradient is left, from a straight line fitted to its logarithm "
        "against lag. Where the gradient grows it is the number of times after which it has doubled. The first lags "
        "are left out of the fit: a fast drop close to the loss, then a slow decay, shows as a long half-life and a "
        "small share.",
    ),
    (
        "interval",
        "95 % of what the half-life comes out as when the sequences are drawn again with replacement. Over several "
        "seeds it spans the intervals of all of them, so that a verdict holds for each seed.",
    ),
    (
        "vanishing, exploding, marginal",
        "Exploding: it surely grows with lag. Vanishing: it surely decays, and less than 1 % would be left at the "
        "lag that the task needs (or over the whole sequence, where that is unknown). Marginal: neither. There is "
        "no universal threshold: the same decay can be harmless for one task and fatal for another.",
    ),
    (
        "underflow",
        "A gradient so small that the floating-point format of the training holds exactly 0. Nothing can bring it "
        "back, and the norms of the weights' gradients do not show it.",
    ),
)
