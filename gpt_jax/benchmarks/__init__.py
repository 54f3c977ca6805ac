"""What a run takes on the device that is here: one file per thing that is timed."""

from gpt_jax.benchmarks import decoding, kernels, loading, training

CASES = {
  'step': training.step,
  'forward': training.forward,
  'decode': decoding.cases,
  'loader': loading.cases,
  'attention': kernels.cases,
}
"""Each entry: `subject -> [timing.Case | timing.Skipped]`, compiled and ready to run.
It raises ConfigError for a config that cannot be timed in this way."""
