"""How fast a run is on the devices that are here: one function per thing that is timed.

`session.run` (to read first) makes the cases, times them in interleaved rounds
(timing.py) and puts the results into a report (report.py, drawn by figure.py). A new
thing to time is a function and a line in `CASES`. `targets_tpu` and `targets_gpu` are
programs that compare with the performance targets of the project.
"""

from gpt_jax.benchmarks import (
  adapters,
  decoding,
  kernels,
  peft_costs,
  serving,
  training,
)

CASES = {
  'step': training.step,
  'forward': training.forward,
  'decode': decoding.cases,
  'loader': training.loader,
  'attention': kernels.cases,
  'serving': serving.cases,
  'adapters': adapters.cases,
  'peft': peft_costs.cases,
}
"""Each entry: `workload -> [timing.Case | timing.Skipped]`, compiled and ready to run.
It raises ConfigError for a config that cannot be timed in this way."""

MINUTES = ('serving', 'adapters', 'peft')
"""Entries that take minutes of a CPU: timed where they are named, not by `all`."""
