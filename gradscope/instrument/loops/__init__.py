"""Recurrences that the user loops over: cells, layers that are called for one time after the other, taps."""
