"""Predictors without a neural network, for comparison with a fine-tuned model.

Each takes lists of plain values and gives what a model for the task gives. What learns
has a `fit` that returns the fitted predictor; the others are functions. Read
`majority.py` first. Classes: `majority.py`, `tfidf.py`; tags: `frequency_tagger.py`;
texts: `lead.py`, `copy_source.py`; answers: `nearest_answer.py`; choices:
`choice_rules.py`; clicks: `popularity.py`, `factorization.py`. N-gram language models
and compressors are in `evaluation/baselines.py`.
"""
