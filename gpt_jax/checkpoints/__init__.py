"""Saved steps of a run: whole or absent, written in the background, verified first.

Read `manager.py` first (saving), then `reader.py`. `handler.py` sets Orbax up;
`digests.py`, `manifest.py` and `integrity.py` find damage, `ocdbt.py` names the arrays
in it; `retention.py` decides which steps are kept. No other package uses Orbax, and
this one knows nothing of training.
"""
