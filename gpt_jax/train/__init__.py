"""What the host does around a Program: `loop.py` first, then `session.py`.

Beside the steps: `hooks.py` (a new one is a line in `loop.default_hooks`), `save.py`,
`step_metrics.py`. When something happens: `preemption.py`, `divergence.py`,
`rollback.py`. Where a run starts: `resume.py`. Looking at a run: `score_run.py`,
`replay.py`.
"""
