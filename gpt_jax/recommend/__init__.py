"""Recommendation: which items will a user like, given titles that they liked?

A ranking has two stages (Covington, Adams & Sargin 2016): `candidates.py` finds some
hundred items by popularity, co-occurrence and text vectors, and `ranker.py` orders them
by a model that was fine-tuned on texts (`examples.py` makes them). Read
`recommender.py` first; `split.py` and `evaluation.py` say how good it is, beside
popularity and matrix factorization. A new way of scoring items is a file with a class
that has `scores(history)`, and a line in METHODS of `scorers.py`.
"""
