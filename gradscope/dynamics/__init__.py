"""Gradients through time as pure torch functions."""
