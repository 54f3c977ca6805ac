"""Labels of tokens: where they stand, what is seen, and a training on them."""

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax import objectives
from gpt_jax.core.errors import DataError
from gpt_jax.data.source import Source
from gpt_jax.program import setup
from gpt_jax.train import loop, score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
TOKENS = np.array([[5, 6, 7, 0, 8, 9, 0, 0, 0]], np.int32)
LABELS = np.array([[1, -1, 2, -1, 0, 1, -1, -1, -1]], np.int32)
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]], np.int32)


def config(**overrides):
  settings = {'objective.name': 'token_labels', 'objective.options.num_labels': 3}
  return setup.resolve(
    base.get_config(), tiny_runs.TINY | settings | tiny_runs.ONE_LAYER | overrides
  )


def objective(**options):
  named = {f'objective.options.{name}': value for name, value in options.items()}
  return objectives.make_objective(config(**named).objective, vocab=VOCAB, seq_len=8)


def test_labels_are_predicted_where_they_stand():
  batch = dict(tokens=TOKENS, labels=LABELS, segments=SEGMENTS)
  example = objective()(batch, jax.random.key(0))
  places = np.flatnonzero(example.weights_BT[0])
  assert example.inputs_BT[0][places].tolist() == [5, 7, 8, 9]
  assert example.targets_BT[0][places].tolist() == [1, 2, 0, 1]
  allowed = np.asarray(example.mask.allowed(8, 8)[0])
  assert allowed[:4, :4].all() and not allowed[:4, 4:].any()
  causal = objective(attention='causal')(batch, jax.random.key(0))
  assert not np.asarray(causal.mask.allowed(8, 8)[0])[0, 1]


def test_documents_without_labels_are_refused():
  with pytest.raises(DataError, match='token_labels: the documents have no labels'):
    objective()(dict(tokens=TOKENS), jax.random.key(0))


class Parities(Source):
  """Documents of ids whose labels are what is left when the next id is divided by 2."""

  fields, vocab_size = ('labels',), 4

  def __init__(self, data):
    del data
    self.fingerprint = {'source': 'parities', 'split': 'all'}

  def __len__(self):
    return 64

  def __getitem__(self, i):
    ids = np.random.default_rng(i).integers(0, 4, 15)
    return {'tokens': ids, 'labels': np.append(ids[1:] % 2, -1)}


@pytest.mark.slow
def test_what_depends_on_the_next_token_is_learned(tmp_path):
  overrides = {
    'data.source': f'{__name__}:Parities', 'data.packing': 'pad', 'train.steps': 150,
    'eval.sets': {'validation': {}}, 'eval.every_steps': 0,
  }  # fmt: skip
  loop.train(config(**overrides), tmp_path, quiet=True)
  metrics = score_run.score_run(tmp_path).sets['validation']
  assert metrics['accuracy'] > 0.9 and metrics['labels'] == 64 * 14
