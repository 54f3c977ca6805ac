"""Fields of a config that the ids in use and the mesh decide: vocabulary and remat."""

import dataclasses
import math

from gpt_jax.core.errors import ConfigError


def with_vocab(config, rules, num_ids, embedding_rows):
  """Returns config and rules for an embedding that has `num_ids` and fits the mesh."""
  model, shards = config.model, rules.num_shards('vocab')
  if model.vocab_size is not None and model.vocab_size < num_ids:
    raise ConfigError(
      f'model.vocab_size={model.vocab_size}: tokenizer and objective use {num_ids} ids;'
      ' set it to None or to at least that.'
    )
  rows = embedding_rows
  if rows is None:
    multiple = math.lcm(model.pad_vocab_to_multiple_of, shards)
    rows = -(-(model.vocab_size or num_ids) // multiple) * multiple
  elif rows % shards:  # made for another mesh: replicate it
    replicated = rules.mesh_axes | {'vocab': None, 'act_vocab': None}
    rules = dataclasses.replace(rules, mesh_axes=replicated)
  model = dataclasses.replace(model, vocab_size=rows)
  return dataclasses.replace(config, model=model), rules


def with_ids_of(config, reference):
  """Returns the Config of a reference; one that is planned has the ids of `config`."""
  if reference.model.vocab_size is not None:
    return reference
  model = dataclasses.replace(reference.model, vocab_size=config.model.vocab_size)
  return dataclasses.replace(reference, model=model)


def with_remat(config, mesh):
  """Returns the config with model.remat='auto' decided."""
  if config.model.remat != 'auto':
    return config
  # On a TPU v5e a scan over the layers of GPT-2 124M is faster when it computes them
  # again (84 ms) than when it stacks up what the backward pass reads (110 ms), at a
  # sixth of the memory: docs/performance.md.
  on_tpu = mesh.devices.flat[0].platform == 'tpu'
  remat = 'full' if on_tpu and config.model.scan_layers else 'none'
  model = dataclasses.replace(config.model, remat=remat)
  return dataclasses.replace(config, model=model)
