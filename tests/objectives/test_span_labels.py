"""Answers as spans: what may be one, the loss of its two ends, a training."""

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.objectives import span_labels
from gpt_jax.program import setup
from gpt_jax.train import loop, score_run
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
# The first row answers with tokens 3 and 4, the second has no answer, the third is all
# padding.
BATCH = dict(
  tokens=np.array([[5, 6, 0, 7, 8, 9, 0], [5, 6, 0, 7, 0, 0, 0], [0] * 7], np.int32),
  segments=np.array([[1] * 7, [1] * 5 + [0] * 2, [0] * 7], np.int32),
  can_answer=np.array([[1, 0, 0, 1, 1, 1, 0], [1, 0, 0, 1, 0, 0, 0], [0] * 7]),
  starts=np.array([[0, 0, 0, 1, 0, 0, 0], [1] + [0] * 6, [0] * 7]),
  ends=np.array([[0, 0, 0, 0, 1, 0, 0], [1] + [0] * 6, [0] * 7]),
)
OUTPUTS = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)


def config(**overrides):
  settings = {'objective.name': 'span_labels', 'data.packing': 'pad'}
  return setup.resolve(
    base.get_config(), tiny_runs.TINY | settings | tiny_runs.ONE_LAYER | overrides
  )


def objective(**options):
  named = {f'objective.options.{name}': value for name, value in options.items()}
  return objectives.make_objective(config(**named).objective, vocab=VOCAB, seq_len=6)


def example():
  return objective()(BATCH, jax.random.key(0))


def test_loss_is_the_mean_of_both_ends_over_allowed_tokens():
  sums = span_labels.span_loss(OUTPUTS, example())
  nats = []
  for row, allowed, start, end in ((0, [0, 3, 4, 5], 3, 4), (1, [0, 3], 0, 0)):
    logits = OUTPUTS[row, allowed].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=0))
    of_start = log_probs[allowed.index(start), 0]
    nats.append(-(of_start + log_probs[allowed.index(end), 1]) / 2)
  assert float(sums.objective_sum) == pytest.approx(sum(nats), rel=1e-6)
  assert float(sums.weight_sum) == 2
  assert float(objective().weight(example())) == 2


def test_accuracy_wants_both_ends():
  outputs = np.zeros((3, 6, 2), np.float32)
  outputs[0, 3, 0] = outputs[0, 4, 1] = outputs[1, 0] = 1
  both = span_labels.span_loss(outputs, example()).metric_sums
  assert float(both['accuracy']) == 2
  outputs[0, 5, 1] = 2
  one = span_labels.span_loss(outputs, example()).metric_sums
  assert float(one['accuracy']) == 1


def test_predictions_are_probabilities_of_allowed_tokens():
  found = objective().predictions(OUTPUTS, example())
  for name in ('starts', 'ends'):
    probs = np.exp(np.asarray(found[name]))
    assert np.isfinite(found[name]).all()
    np.testing.assert_allclose(probs[:2].sum(axis=1), 1, rtol=1e-6)
    assert probs[0, 1] == probs[0, 2] == 0


def test_gradients_of_a_row_of_padding_are_zero():
  grads = jax.grad(lambda x: span_labels.span_loss(x, example()).objective_sum)(OUTPUTS)
  assert np.isfinite(grads).all() and np.abs(grads[:2]).sum() > 0
  assert not np.asarray(grads)[2].any() and not np.asarray(grads)[0, 1].any()


def test_documents_without_spans_are_refused():
  with pytest.raises(DataError, match='span_labels: the documents lack can_answer'):
    objective()(dict(tokens=BATCH['tokens']), jax.random.key(0))


def test_settings_of_other_losses_are_refused():
  with pytest.raises(ConfigError, match='label_smoothing=0.1: the loss of span_labels'):
    config(**{'objective.label_smoothing': 0.1})
  with pytest.raises(ConfigError, match='eval.metrics'):
    config(**{'eval.metrics': ('macro_f1',)})
  with pytest.raises(ConfigError, match='one answer; set "pad"'):
    config(**{'data.packing': 'first_fit'})


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_a_token_is_found(attention, tmp_path):
  overrides = {
    'data.source': 'tests.objectives.rows_of_fields:Rows', 'train.steps': 60,
    'objective.options.attention': attention, 'train.grad_accum': 2,
    'parallel.mesh': {'data': 2, 'fsdp': 2, 'sequence': 2}, 'parallel.preset': 'fsdp',
    'eval.sets': {'validation': {}}, 'eval.every_steps': 0, 'eval.batch_size': 8,
  }  # fmt: skip
  loop.train(config(**overrides), tmp_path, quiet=True)
  metrics = score_run.score_run(tmp_path).sets['validation']
  assert metrics['accuracy'] > 0.9 and metrics['rows'] == 64
