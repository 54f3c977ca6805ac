"""What the compiled step takes, by shape: the vocabulary and the largest batch."""

import jax
import jax.numpy as jnp

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import make_source, pipeline

SYNTHETIC = ('markov', 'uniform', 'copy', 'dyck', 'induction')
_KNOWN_SIZES = {'byte': 257, 'gpt2': 50257}


def vocabulary(config):
  """Returns the objectives.Vocab that `train` would have, without any training text.

  `model.vocab_size` where it is set; else the fixed size of the byte and GPT-2
  tokenizers, the size that a BPE is asked to learn, or that of a synthetic language.
  """
  extra = objectives.extra_tokens(config.objective, config.data.seq_len)
  if config.model.vocab_size is not None:
    return objectives.Vocab(size=config.model.vocab_size - extra)
  parts = [part for part, _ in pipeline.members(config.data).values()]
  languages = [make_source(part) for part in parts if part.source in SYNTHETIC]
  if languages:
    # As pipeline.open_tokenizer, which would open sources of text too.
    return objectives.Vocab(max(getattr(one, 'vocab_size', 0) for one in languages))
  name = config.tokenizer.name
  if name == 'bpe':
    return objectives.Vocab(config.tokenizer.vocab_size)
  if name not in _KNOWN_SIZES:
    raise ConfigError(
      f'tokenizer.name={name!r}: how many tokens it has shows only once it is made;'
      ' give the number as --config.model.vocab_size=N.'
    )
  return objectives.Vocab(_KNOWN_SIZES[name])


def abstract_batch(program):
  """Returns the batch of the run's last stage, the largest, as ShapeDtypeStructs."""
  data = program.config.data
  rows = program.horizon.stages[-1].batch_size
  parts = [part for part, _ in pipeline.members(data).values()]
  apart = any(p.packing in ('first_fit', 'pad') or p.mask_documents for p in parts)
  names = ('tokens', 'segments', 'positions') if apart else ('tokens',)
  shape = jax.ShapeDtypeStruct(
    (rows, data.seq_len + 1), jnp.int32, sharding=program.batch_sharding
  )
  return dict.fromkeys(names, shape)


def tokens_per_step(program):
  """Returns the tokens of that batch."""
  return program.horizon.stages[-1].batch_size * program.config.data.seq_len
