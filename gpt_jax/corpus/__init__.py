"""`gpt-jax prepare`: a corpus tokenized once, in shards, before any run starts.

`prepare.py` is the driver: it divides the corpus into parts (`plan.py`, `readers.py`),
passes their documents through the steps in `STEPS` (`quality.py`), and makes a shard of
each (`shard_work.py`, `shard_files.py`) and a report (`report.py`). `data/prepared.py`
is what trains from it. A new step is a file with a `Step` or `GlobalStep` (`step.py`)
and a line in `STEPS`.
"""

from gpt_jax.corpus import (
  c4,
  decontaminate,
  epochs,
  exact,
  gopher_quality,
  gopher_repetition,
  language,
  length,
  minhash,
  weights,
)

STEPS = {
  'length': length.make,
  'language': language.make,
  'gopher_quality': gopher_quality.make,
  'gopher_repetition': gopher_repetition.make,
  'c4': c4.make,
  'decontaminate': decontaminate.make,
  'exact': exact.make,
  'minhash': minhash.make,
  'weights': weights.make,
  'epochs': epochs.make,
}
"""Name -> `make(options, context) -> Step or GlobalStep`, the quality steps of
`--step=NAME:field=value`; options as of any entry (`registry.entry(options=...)`)."""
