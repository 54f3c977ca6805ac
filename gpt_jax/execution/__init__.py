"""Points of a study at work: checked, priced, trained, watched.

`preflight.py` says before the start what cannot run, `runner.py` trains the points that
are missing, `jobs.py` in several processes and `vectorized.py` many in one program;
`overview.py` counts states, and `pricing.py` says before a launch what all will cost.
"""
