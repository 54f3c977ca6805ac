"""What the device runs, for training, planning and benchmarks alike.

Read `build.py` first: it makes a `Program` from a config, of the pure functions in
`step.py` (the update), `loss.py`, `guard.py` (which updates to refuse) and `norms.py`
on a `TrainState` (`state.py`). `setup.py` opens what a config names and has the
registries of plug-ins: a new kind of plug-in is a line there. `horizon.py` is the
arithmetic of steps, samples and tokens; `restore.py` reads parameters back.
"""
