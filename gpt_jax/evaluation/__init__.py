"""Held-out metrics of a model (`evaluate.py`), and baselines without a neural network.

A new metric of what the evaluation step sums is a line in `evaluate.metrics_from_sums`.
Predictions of a fine-tuned model are scored on the host, by the packages of the field:
each `*_scores.py` takes lists of what was wanted and predicted and returns `Scores`
(`scores.py`); read `class_scores.py` first. Shares, F1, EM and ROUGE are from 0 to 1,
BLEU and chrF from 0 to 100.
"""
