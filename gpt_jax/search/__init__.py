"""Hyperparameter search by Optuna over the ranges that an experiment file declares.

Read `search.py` first: one trial is one run, and its workdir is its state.
"""
