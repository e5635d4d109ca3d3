"""Hooks on live training, and the recorder that ties them together."""
