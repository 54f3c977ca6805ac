"""Held-out metrics of a model (`evaluate.py`), and baselines without a neural network.

A new metric of what the evaluation step sums is a line in `evaluate.metrics_from_sums`.
"""
