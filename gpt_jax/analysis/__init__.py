"""Results of runs, and what they say about claims.

`results.py` reads what the points of a study have written. `rules.py` has the usual
pass rules of claims, `axis_values.py`, `learning_rates.py` and `isoflop.py` those of
scaling; `checks.py` tries them before there is a run. `fits.py` has the usual fits,
`references.py` levels to draw beside results, `intruder_dimensions.py` what tuning has
added to the matrices of a model. `verdicts.py` judges the claims and `verdict_log.py`
keeps every verdict.
"""

from gpt_jax.analysis.results import NotEnoughData

__all__ = ['NotEnoughData']
