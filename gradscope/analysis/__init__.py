"""Numbers from a run: pure functions of numpy and pandas."""
