"""Which fields of its config a run may change between starts.

By itself, since `gpt-jax status` reads this and nothing else of what trains a run.
"""

CHANGEABLE_FIELDS = (
  'attention.kernel', 'attention.options', 'checkpoint', 'data.cache_dir',
  'data.data_dir', 'data.prefetch_batches', 'data.max_corrupt_records', 'data.split_by',
  'data.warn_after_seconds', 'data.timeout_seconds', 'eval', 'guard.max_bad_steps',
  'guard.max_rollbacks', 'inference', 'logging', 'model.remat', 'objective.loss',
  'parallel', 'train.grad_accum', 'train.steps', 'train.tokens', 'train.epochs',
  'early_stopping', 'init_from', 'init', 'peft.init_from',
)  # fmt: skip
"""Fields (or sections) that change no number of the run, or only when it ends."""
