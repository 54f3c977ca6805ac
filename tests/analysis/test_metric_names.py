"""Names of metrics that a run will write, known before it has begun."""

import types

import pytest

from gpt_jax.analysis import metric_names
from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation.metrics import METRICS
from gpt_jax.sweeps import costs
from gpt_jax.tracking import metrics_file
from gpt_jax.workdir.paths import Workdir


def config(
  objective='causal_lm', metrics=(), statistics=(), norms=0, attack=0.0, peft=''
):
  logging = dict(statistics=statistics, layer_norms_every_steps=norms)
  return types.SimpleNamespace(
    eval=types.SimpleNamespace(
      sets={'validation': {}, 'long': {}}, metrics=metrics, attack_epsilon=attack
    ),
    logging=types.SimpleNamespace(**logging),
    objective=types.SimpleNamespace(name=objective),
    peft=types.SimpleNamespace(name=peft),
  )


@pytest.mark.parametrize(
  'name, more, told',
  [
    ('validation/los', {}, "did you mean 'validation/loss'"),
    ('validaton/loss', {}, "no evaluation set 'validaton'; did you mean 'validation'"),
    ('loss', {}, "did you mean 'validation/loss'"),
    ('train/grad_nrm', {}, "did you mean 'train/grad_norm'"),
    ('train/perplexity', {}, 'no metric of training steps'),
    ('validation/icl_score', {}, "needs 'loss_by_position' in eval.metrics"),
    ('statistics/log_z', {}, "needs 'log_z' in logging.statistics"),
    ('statistics/log_z', {'statistics': ('residual_rms',)}, "needs 'log_z'"),
    ('grad/embed', {}, 'layer_norms_every_steps'),
    ('train/rank', {}, 'no metric of training steps'),
    ('validation/attacked_loss', {}, 'needs eval.attack_epsilon'),
    ('', {}, 'expected the name of a metric'),
  ],
)
def test_a_name_that_no_run_writes_is_told(name, more, told):
  with pytest.raises(ConfigError, match=told):
    metric_names.require_known(name, config(**more))


@pytest.mark.parametrize(
  'name, more',
  [
    ('flops', {}),
    ('train/learning_rate_hidden', {}),
    ('long/bits_per_byte', {}),
    ('validation/loss_after_8_to_15', {'metrics': ('loss_by_position',)}),
    ('validation/entropy_of_model', {'metrics': ('my_ideas.entropy:ENTROPY',)}),
    ('validation/pairs', {'objective': 'my_ideas.pairs:make'}),
    ('validation/loss_at_layer_2', {'objective': 'layer_skip'}),
    ('train/margin', {'objective': 'my_ideas.pairs:make'}),
    ('statistics/distance', {'statistics': ('my_ideas.farthest:DISTANCE',)}),
    ('statistics/log_z/logits/rms', {'statistics': ('log_z',)}),
    ('grad/embed', {'norms': 10}),
    ('train/rank', {'peft': 'adalora'}),
    ('ranks/mlp/up/layer_0', {'peft': 'adalora'}),
  ],
)
def test_a_name_that_a_run_may_write_is_known(name, more):
  metric_names.require_known(name, config(**more))


def test_every_entry_of_the_registry_says_its_names():
  assert set(metric_names.OF_EVAL_METRICS) == set(METRICS)


@pytest.mark.slow
def test_all_that_a_run_has_written_is_known(finished_run):
  written = costs.read_config(finished_run)
  named = metrics_file.by_name(metrics_file.read_lines(Workdir(finished_run).metrics))
  assert 'validation/loss' in named
  for name in named:
    metric_names.require_known(name, written)


def test_attacked_metrics_are_known_where_there_is_an_attack():
  one = config(attack=0.5)
  metric_names.require_known('long/attacked_accuracy', one)
  assert 'validation/attacked_loss' in metric_names.names(one)
  metric_names.require_known('train/adversarial_loss', one)
