"""`gpt-jax prepare`: a corpus tokenized once, in shards, before any run starts.

`prepare.py` is the driver: it reads `parts.py` (the corpus in parts, one shard each),
passes their documents through the steps in `STEPS`, and writes shards (`shard.py`) and
the manifest (`manifest.py`). `prepared.py` is `data.source=prepared`. A new step is a
file with a `Step` or `GlobalStep` (`step.py`) and a line in `STEPS`.
"""

STEPS = {}
"""Name -> `make(options, context) -> Step or GlobalStep`, the quality steps of
`--step=NAME:field=value`; options as of any entry (`registry.entry(options=...)`)."""
