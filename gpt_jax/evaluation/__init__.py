"""Held-out metrics of a model, beside count-based baselines."""
