"""Watching a training whose script does not say so: what it trains is noticed while it runs."""
