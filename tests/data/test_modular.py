"""Modular equations: right, all of them, and each in one split."""

import numpy as np
import pytest

from gpt_jax import data as sources
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import fields
from tests import tiny_runs


def make(split='train', seed=0, **options):
  overrides = {f'data.options.{key}': value for key, value in options.items()}
  overrides |= {'data.source': 'modular', 'data.split': split}
  overrides['data.generator.language_seed'] = seed
  return sources.make_source(tiny_runs.tiny_config(overrides).data)


def equations(source):
  return np.stack([source[i]['tokens'] for i in range(len(source))])


@pytest.mark.parametrize(
  'operation, holds',
  [
    ('+', lambda a, b, c, p: (a + b) % p == c),
    ('-', lambda a, b, c, p: (a - b) % p == c),
    ('*', lambda a, b, c, p: (a * b) % p == c),
    ('/', lambda a, b, c, p: (b * c) % p == a),
  ],
)
def test_splits_hold_each_equation_once(operation, holds):
  train = equations(make(modulus=7, operation=operation, train_fraction=0.4))
  held_out = equations(make('validation', modulus=7, operation=operation,
                            train_fraction=0.4))  # fmt: skip
  found = np.concatenate([train, held_out])
  a, sign, b, equals, c = found.T
  assert holds(a, b, c, 7).all()
  assert set(sign) == {7} and set(equals) == {8}
  count = 7 * 6 if operation == '/' else 7 * 7
  assert len({tuple(row) for row in found}) == len(found) == count
  assert len(train) == round(0.4 * count)


def test_the_answer_alone_bears_loss_and_is_certain():
  source = make(modulus=5)
  assert source[0]['loss_mask'].tolist() == [0, 0, 0, 0, 1]
  assert source.entropy == 0.0
  assert source.vocab_size == 7
  assert fields.field('loss_mask').padding == 0


def test_the_split_depends_on_the_language_seed():
  np.testing.assert_array_equal(equations(make()), equations(make()))
  assert not np.array_equal(equations(make()), equations(make(seed=1)))
  assert make().fingerprint != make(seed=1).fingerprint


@pytest.mark.parametrize(
  'fields, message',
  [
    (dict(modulus=6, operation='/'), 'modulus=6: division needs a prime'),
    (dict(split='test'), 'finitely many'),
    (dict(split='trian'), "did you mean 'train'"),
    (dict(split='validation', train_fraction=1.0), 'leaves nothing for validation'),
  ],
)
def test_equations_that_are_not_there_are_refused(fields, message):
  with pytest.raises(ConfigError, match=message):
    make(**fields)
