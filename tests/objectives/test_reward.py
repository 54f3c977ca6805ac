"""Rewards of pairs: texts that do not see each other, the loss, a training."""

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax import objectives
from gpt_jax.core.errors import DataError
from gpt_jax.objectives import reward
from gpt_jax.program import setup
from gpt_jax.program.build import build_program
from gpt_jax.train import loop, score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
# A chosen text of 3 tokens, a rejected one of 4; then both the other way round.
BATCH = dict(
  tokens=np.array([[5, 6, 0, 7, 8, 9, 0, 0], [7, 8, 9, 0, 5, 6, 0, 0]], np.int32),
  segments=np.array([[1] * 7 + [0]] * 2, np.int32),
  labels=np.array([[-1, -1, 1, -1, -1, -1, 0, -1], [-1, -1, -1, 0, -1, -1, 1, -1]]),
  sides=np.array([[1, 1, 1, 2, 2, 2, 2, 0], [2, 2, 2, 2, 1, 1, 1, 0]], np.int32),
)


def config(**overrides):
  settings = {'objective.name': 'reward', 'data.packing': 'pad'}
  return setup.resolve(
    base.get_config(), tiny_runs.TINY | settings | tiny_runs.ONE_LAYER | overrides
  )


def objective(**options):
  named = {f'objective.options.{name}': value for name, value in options.items()}
  return objectives.make_objective(config(**named).objective, vocab=VOCAB, seq_len=7)


def test_loss_is_that_of_bradley_and_terry():
  one = objective()
  example = one(BATCH, jax.random.key(0))
  outputs = np.zeros((2, 7, 1), np.float32)
  outputs[0, 1], outputs[0, 5] = 2.0, 0.5  # the tokens before the ends
  outputs[1, 2], outputs[1, 5] = 1.0, -1.0
  found = reward.rewards(outputs, example)
  assert np.asarray(found).tolist() == [[2.0, 0.5], [-1.0, 1.0]]
  sums = reward.pair_loss(outputs, example)
  expected = np.log1p(np.exp(-1.5)) + np.log1p(np.exp(2.0))
  assert float(sums.objective_sum) == pytest.approx(expected, rel=1e-6)
  assert float(sums.weight_sum) == float(one.weight(example)) == 2
  assert float(sums.metric_sums['accuracy']) == 1
  assert float(sums.metric_sums['margin']) == -0.5


@pytest.mark.parametrize('attention', ['causal', 'bidirectional'])
@pytest.mark.parametrize('pooling', ['last', 'first', 'mean'])
def test_each_text_has_the_reward_that_it_has_alone(attention, pooling):
  settings = config(
    **{
      'objective.options.attention': attention, 'objective.options.pooling': pooling,
      'data.seq_len': 7, 'eval.batch_size': 8,
    }
  )  # fmt: skip
  program = build_program(settings, vocab=VOCAB, mesh=None)
  params = program.init(0).params

  def evaluate(batch):
    rows = {k: np.concatenate([v, v[:1].repeat(6, 0)]) for k, v in batch.items()}
    found = program.predict(params, rows, 0)['predictions']['rewards']
    return np.asarray(found)[:2]

  together = evaluate(BATCH)
  np.testing.assert_allclose(together[0], together[1], rtol=1e-4)
  other = BATCH | dict(tokens=BATCH['tokens'].copy())
  other['tokens'][0, 3:6], other['tokens'][1, :3] = 11, 11  # of the rejected text
  changed = evaluate(other)
  np.testing.assert_allclose(changed[:, 0], together[:, 0], rtol=1e-5)
  assert (np.abs(changed[:, 1] - together[:, 1]) > 1e-4).all()


def test_half_a_pair_has_no_weight():
  labels = np.where(BATCH['labels'] == 0, -1, BATCH['labels'])
  example = objective()(BATCH | dict(labels=labels), jax.random.key(0))
  assert float(objective().weight(example)) == 0


def test_documents_that_are_no_pairs_are_refused():
  with pytest.raises(DataError, match='reward: the documents are no pairs'):
    objective()({k: v for k, v in BATCH.items() if k != 'sides'}, jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_the_text_with_the_token_gets_more_reward(attention, tmp_path):
  overrides = {
    'data.source': 'tests.objectives.rows_of_fields:Rows', 'train.steps': 60,
    'objective.options.attention': attention, 'objective.options.pooling': 'mean',
    'eval.sets': {'validation': {}}, 'eval.every_steps': 0,
  }  # fmt: skip
  loop.train(config(**overrides), tmp_path, quiet=True)
  metrics = score_run.score_run(tmp_path).sets['validation']
  assert metrics['accuracy'] > 0.9 and metrics['pairs'] == 64
