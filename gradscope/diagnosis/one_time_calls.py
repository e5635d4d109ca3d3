"""A loop that calls nn.RNN, nn.GRU or nn.LSTM for one time after the other, as decoders do."""

from gradscope.analysis import number
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_CELLS = {"gru": "nn.GRUCell", "lstm": "nn.LSTMCell"}


def find_one_time_calls(evidence: LayerEvidence) -> Finding | None:
    """Return a finding, for information, if a layer was called for a single time, several times an iteration."""
    rows = evidence.timesteps
    calls = int(rows.groupby("iteration")["call"].nunique().max())
    if rows["time"].max() > 0 or calls < 2:
        return None
    last = rows[rows["iteration"] == rows["iteration"].max()]
    norms = last.set_index("call")["total_gradient_norm"]
    left = float(norms.iloc[0] / norms.iloc[-1]) if norms.iloc[-1] > 0 else float("nan")
    return Finding(
        code="one-time-calls",
        severity="info",
        layer=evidence.layer,
        message=(
            f"{evidence.layer} runs a single time a call, {calls} calls an iteration: each is taken for a sequence of "
            f"its own, and none has a way back to judge. At iteration {last['iteration'].iloc[0]} the first call's "
            f"total gradient was {number(left)} times that of the last."
        ),
        evidence={"calls": calls, "first_to_last": left},
        advice=(
            f"Loop over {_CELLS.get(evidence.kind, 'nn.RNNCell')} with the same weights: its calls are put together by "
            "the state that is handed on.",
            "Where all inputs are known beforehand, as under teacher forcing, give the module the whole sequence.",
            "Read the way back by hand: `timesteps` has the total gradient of each call, in its column `call`.",
        ),
        meaning="A gradient that vanishes or explodes from call to call shows in no verdict here.",
    )
