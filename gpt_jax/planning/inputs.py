"""What is planned, by shape: the program, its vocabulary and its largest batch."""

import jax
import jax.numpy as jnp

from gpt_jax import objectives, tasks
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import SOURCES, packing, pipeline
from gpt_jax.data.tokenizers import TOKENIZERS
from gpt_jax.program import setup
from gpt_jax.program.build import build_program


def make_program(config, mesh=None, planned=None):
  """Returns the Program that `train` would have on `mesh`; reads configs only.

  Without a mesh: on the devices that are here, by parallel.mesh. `planned`: the Configs
  of runs that are not there yet, by workdir.
  """
  return build_program(
    config,
    vocab=vocabulary(config),
    mesh=mesh,
    reference_configs=setup.read_reference_configs(config, planned),
  )


def vocabulary(config):
  """Returns the objectives.Vocab that `train` would have, without any training text.

  `model.vocab_size` where it is set; else what the entries of the sources (synthetic
  languages), or that of the tokenizer, say by `data.tokenizer.known_size`.
  """
  extra = objectives.describe(config).extra_tokens
  if config.model.vocab_size is not None:
    return objectives.Vocab(size=config.model.vocab_size - extra)
  parts = [part for part, _ in pipeline.members(config.data).values()]
  found = [_known_size(SOURCES, part.source, 'data.source', part) for part in parts]
  name = config.tokenizer.name
  size = max((size for size in found if size), default=None) or _known_size(
    TOKENIZERS, name, 'tokenizer.name', config.tokenizer
  )
  if size is None:
    raise ConfigError(
      f'tokenizer.name={name!r}: how many tokens it has shows only once it is built;'
      ' give the number as --config.model.vocab_size=N.'
    )
  return objectives.Vocab(size)


def _known_size(entries, name, field, cfg):
  size = getattr(registry.lookup(entries, name, field), 'vocab_size', None)
  return size and size(cfg)


def abstract_batch(program):
  """Returns the batch of the run's last stage, the largest, as ShapeDtypeStructs."""
  data, names = program.config.data, batch_names(program.config)
  rows = program.horizon.stages[-1].batch_size
  shape = jax.ShapeDtypeStruct(
    (rows, data.seq_len + 1), jnp.int32, sharding=program.batch_sharding
  )
  return dict.fromkeys(names, shape)


def batch_names(config):
  """Returns the names of the arrays of a batch."""
  if (task := tasks.make_task(config)) is not None:
    return 'tokens', 'segments', 'positions', *task.fields
  parts = [part for part, _ in pipeline.members(config.data).values()]
  has_segments = any(map(packing.has_segments, parts))
  names = ('tokens', 'segments', 'positions') if has_segments else ('tokens',)
  return names + pipeline.declared_fields(config.data)


def tokens_per_step(program):
  """Returns the tokens of that batch."""
  return program.horizon.stages[-1].batch_size * program.config.data.seq_len
