"""Modular arithmetic: all of `a o b = c` modulo p, split once in train and validation.

The data of grokking (Power et al., arXiv:2201.02177, section 3). A document has five
tokens: the numbers are 0 .. p - 1, the operation is p, the equals sign p + 1. The
answer alone bears loss, and follows from the rest: the entropy is 0.
"""

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, one_of, section
from gpt_jax.data import fields, splits
from gpt_jax.data.source import Source
from gpt_jax.data.tokenizer import known_size

_LOSS_MASK = np.array([0, 0, 0, 0, 1], np.uint8)


@section
class ModularOptions:
  modulus: int = between(2, 1024, default=97)
  operation: str = one_of('+', '-', '*', '/', default='+')
  train_fraction: float = between(0.0, 1.0, default=0.3)  # the rest is validation


class ModularSource(Source):
  """`source[i] == {'tokens': [a, o, b, =, c], 'loss_mask': [0, 0, 0, 0, 1]}`."""

  fields = ('loss_mask',)
  entropy = 0.0

  def __init__(self, data):
    if data.split not in ('train', 'validation'):
      splits.check(data.split)
      raise ConfigError(
        f'data.split={data.split!r}: the equations are finitely many; expected train'
        ' (options.train_fraction of them) or validation (the rest).'
      )
    options = data.options
    self.vocab_size = options.modulus + 2
    equations = _equations(options.modulus, options.operation)
    rng = np.random.default_rng([data.generator.language_seed, len(equations)])
    order = rng.permutation(len(equations))
    num_train = round(len(equations) * options.train_fraction)
    chosen = order[:num_train] if data.split == 'train' else order[num_train:]
    if not len(chosen):
      raise ConfigError(
        f'data.options.train_fraction={options.train_fraction}: leaves nothing for'
        f' {data.split}; expected more than 0 and less than 1.'
      )
    self._tokens = equations[chosen].astype(np.int32)
    self.fingerprint = {
      'source': data.source,
      'split': data.split,
      'modulus': options.modulus,
      'operation': options.operation,
      'train_fraction': options.train_fraction,
      'language_seed': data.generator.language_seed,
    }

  def __len__(self):
    return len(self._tokens)

  def __getitem__(self, i):
    return {'tokens': self._tokens[i], 'loss_mask': _LOSS_MASK}


def _equations(modulus, operation):
  """Returns all equations, int64 [n, 5]; a / b is the c with b c = a."""
  a, b = (part.ravel() for part in np.indices((modulus, modulus)))
  if operation == '/':
    if any(modulus % divisor == 0 for divisor in range(2, modulus)):
      raise ConfigError(
        f'data.options.modulus={modulus}: division needs a prime, such as 97.'
      )
    c, b = a[b > 0], b[b > 0]
    a = b * c % modulus
  else:
    c = {'+': a + b, '-': a - b, '*': a * b}[operation] % modulus
  signs = np.full_like(a, modulus)
  return np.stack([a, signs, b, signs + 1, c], axis=1)


@registry.entry(options=ModularOptions)
@fields.known_fields(lambda data: ('loss_mask',))
@known_size(lambda data: data.options.modulus + 2)
def make(data):
  """Returns a source of equations; `data.generator.language_seed` draws the split."""
  return ModularSource(data)
