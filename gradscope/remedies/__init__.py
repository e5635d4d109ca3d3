"""Remedies for gradients that vanish or explode, each tried on the user's own training."""
