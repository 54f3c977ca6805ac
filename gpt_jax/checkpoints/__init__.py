"""Saved steps of a run: whole or absent, written in the background, verified first.

Read `manager.py` first (saving), then `reader.py`. `handler.py` is the way to Orbax;
`digests.py`, `manifest.py` and `integrity.py` find damage, `ocdbt.py` names the arrays
it hit; `retention.py` says which steps are kept. Of all packages only this one knows
Orbax, and it knows nothing of training.
"""
