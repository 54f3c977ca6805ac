"""Evaluation sets with rows of another length than those of training."""

import functools

from gpt_jax import objectives, peft
from gpt_jax.attention import ring
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import positions


def eval_lengths(config):
  """Returns `{field: seq_len}` of the evaluation sets of a Config."""
  return {
    f'eval.sets.{name}.seq_len': fields.get('seq_len', config.data.seq_len)
    for name, fields in config.eval.sets.items()
  }


def check_positions(config):
  """Raises ConfigError for a set with longer rows than the model has positions."""
  limit = positions.max_positions(config.model)
  for field, seq_len in eval_lengths(config).items():
    if limit is not None and seq_len > limit:
      raise ConfigError(
        f'{field}={seq_len}: {positions.describe_end(config.model)}; score rows of at'
        ' most that, or train with a larger model.max_seq_len.'
      )


def check_references(config, reference_configs):
  """Raises ConfigError for a reference with fewer positions than the rows it reads.

  `reference_configs`: Configs by name.
  """
  lengths = {'data.seq_len': config.data.seq_len} | eval_lengths(config)
  for name, reference in reference_configs.items():
    adapter = peft.make_adapter(reference)
    taken = adapter.num_positions if adapter else 0
    limit = positions.max_positions(reference.model)
    for field, seq_len in lengths.items():
      if limit is not None and seq_len + taken > limit:
        raise ConfigError(
          f'{field}={seq_len}: in the run that the objective reads as {name!r}'
          f' {positions.describe_end(reference.model, taken)}; use rows of at most'
          f' {limit - taken}.'
        )


def make_objectives(config, *, vocab):
  """Returns `objective_for(seq_len)`, an Objective for rows of each length.

  Raises ConfigError, as the function does, where the model lacks ids for longer rows.
  """
  trained = config.data.seq_len

  @functools.cache
  def objective_for(seq_len):
    made = objectives.make_objective(config.objective, vocab=vocab, seq_len=seq_len)
    if seq_len != trained and made.extra_tokens > (
      known := objective_for(trained).extra_tokens
    ):
      raise ConfigError(
        f'rows of {seq_len} tokens: objective.name={config.objective.name!r} needs'
        f' {made.extra_tokens} ids of its own for them, and a model trained with'
        f' data.seq_len={trained} has {known}; score rows of at most {trained}.'
      )
    return made

  for field, seq_len in eval_lengths(config).items():
    try:
      objective_for(seq_len)
    except ConfigError as error:
      if seq_len == trained:
        raise
      raise ConfigError(f'{field}={seq_len}: {error}') from error
  return objective_for


def check_placement(config, rules, kernel):
  """Raises ConfigError for a set whose rows the mesh or the `kernel` cannot divide."""
  for field, seq_len in eval_lengths(config).items():
    rules.check(field, (seq_len,), ('stream_time',))
    if kernel == 'ring':
      ring.check_length(seq_len, rules, field)
