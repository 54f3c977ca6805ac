"""Numbers of documents: where they stand, their loss, a training."""

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.objectives import regression
from gpt_jax.program import setup
from gpt_jax.train import loop, score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
NUMBERS = np.float32([0, 0, 0, -2.25, 0, 0, np.nan])  # padding may be any bits
BATCH = dict(
  tokens=np.array([[5, 6, 7, 0, 0, 0, 0]], np.int32),
  segments=np.array([[1, 1, 1, 1, 0, 0, 0]], np.int32),
  labels=np.array([[-1, -1, -1, 0, -1, -1, -1]], np.int32),
  numbers=NUMBERS.view(np.int32)[None],
)


def config(**overrides):
  settings = {'objective.name': 'regression', 'data.packing': 'pad'}
  return setup.resolve(
    base.get_config(), tiny_runs.TINY | settings | tiny_runs.ONE_LAYER | overrides
  )


def objective():
  return objectives.make_objective(config().objective, vocab=VOCAB, seq_len=6)


class Fixed:
  """A forward pass whose one output is what it was made with, at each token."""

  def __init__(self, outputs_BT):
    self._outputs_BT = outputs_BT

  def __call__(self, *inputs):
    return self._outputs_BT[..., None]


def test_the_token_before_the_end_predicts_the_number():
  one = objective()
  example = one(BATCH, jax.random.key(0))
  assert example.weights_BT[0].tolist() == [0, 0, 1, 0, 0, 0]
  assert example.targets_BT[0].tolist() == [0, 0, -2.25, 0, 0, 0]
  sums = one.loss(Fixed(np.float32([[9, 9, 0.75, 9, 9, 9]])), example)
  assert float(sums.objective_sum) == 9.0 and float(sums.weight_sum) == 1
  assert one.metrics(dict(loss=9.0, targets=1.0)) == dict(loss=9.0, documents=1)


@pytest.mark.parametrize('number', [0.0, -1.5, 3.1415927, 1e30])
def test_bits_are_those_of_the_number(number):
  found = jax.lax.bitcast_convert_type(np.int32(regression.bits(number)), np.float32)
  assert float(found) == np.float32(number)


def test_documents_without_numbers_are_refused():
  with pytest.raises(DataError, match='regression: the documents have no numbers'):
    objective()({k: v for k, v in BATCH.items() if k != 'numbers'}, jax.random.key(0))


def test_documents_without_an_end_token_are_refused():
  with pytest.raises(ConfigError, match=r'append_eos=False.*what regression learns'):
    config(**{'data.append_eos': False})


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_a_count_is_learned(attention, tmp_path):
  overrides = {
    'data.source': 'tests.objectives.rows_of_fields:Rows', 'train.steps': 80,
    'objective.options.attention': attention, 'objective.options.pooling': 'mean',
    'eval.sets': {'validation': {}}, 'eval.every_steps': 0,
  }  # fmt: skip
  loop.train(config(**overrides), tmp_path, quiet=True)
  metrics = score_run.score_run(tmp_path).sets['validation']
  assert metrics['loss'] < 0.4  # the variance of the counts is about 1.2
