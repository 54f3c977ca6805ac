"""Decay masks and parameter groups, and what is refused."""

import dataclasses

import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import groups

CFG = load.resolve(base.get_config()).optimizer

NAMES = [
  'embed/embedding',
  'position/embedding',
  'layers/block_0/attention/query/kernel',
  'layers/block_0/attention/query/bias',
  'layers/block_0/attention/query_norm/scale',
  'layers/block_0/mlp/up/kernel',
  'layers/block_0/mlp_norm/bias',
  'final_norm/scale',
  'head/kernel',
]


def resolve(*group, **fields):
  cfg = dataclasses.replace(CFG, weight_decay=0.1, groups=group, **fields)
  return groups.resolve(cfg, NAMES)


def decaying(settings):
  return {name for name, setting in settings.items() if setting.weight_decay}


def test_the_matrices_mask_is_kernels_and_embeddings_by_name():
  matrices = {name for name in NAMES if name.endswith(('kernel', 'embedding'))}
  assert decaying(resolve(decay_mask='matrices')) == matrices


def test_decay_may_be_all_none_or_a_regular_expression():
  assert decaying(resolve(decay_mask='all')) == set(NAMES)
  assert decaying(resolve(decay_mask='none')) == set()
  assert decaying(resolve(decay_mask='mlp.*kernel|^head')) == {
    'layers/block_0/mlp/up/kernel',
    'head/kernel',
  }


def test_the_first_matching_group_applies():
  settings = resolve(
    dict(match='query', learning_rate_scale=0.5),
    dict(match='kernel$', learning_rate_scale=2, weight_decay=0.3),
    dict(match='embedding', freeze=True),
  )
  query = settings['layers/block_0/attention/query/kernel']
  assert query == groups.Setting(0.5, 0.1, False)
  assert settings['head/kernel'] == groups.Setting(2, 0.3, False)
  assert settings['embed/embedding'].freeze
  assert settings['final_norm/scale'] == groups.Setting(1.0, 0.0, False)


def test_the_weight_decay_of_a_group_overrides_the_mask():
  settings = resolve(dict(match='bias$', weight_decay=0.5), decay_mask='matrices')
  assert settings['layers/block_0/mlp_norm/bias'].weight_decay == 0.5
  assert settings['final_norm/scale'].weight_decay == 0.0


@pytest.mark.parametrize(
  'group, message',
  [
    (dict(match='head', learning_rat_scale=1), "did you mean 'learning_rate_scale'"),
    (dict(match='head'), 'at least one of learning_rate_scale'),
    (dict(freeze=True), 'expected "match"'),
    (dict(match='heads/kernel', freeze=True), 'the nearest are head/kernel'),
    (dict(match='(', freeze=True), 'expected a regular expression'),
    (dict(match='head', freeze=1), 'expected True or False'),
    (dict(match='head', weight_decay=-0.1), 'expected a number, 0 or more'),
    (dict(match='head', learning_rate_scale=True), 'expected a number, 0 or more'),
    (dict(match='head', weight_decay=float('nan')), 'expected a number, 0 or more'),
    (dict(match='.', freeze=True), 'nothing would train'),
  ],
)
def test_invalid_groups_are_refused(group, message):
  with pytest.raises(ConfigError, match=message) as error:
    resolve(group)
  assert 'optimizer.groups' in str(error.value)


def test_a_group_whose_parameters_are_all_taken_is_refused():
  with pytest.raises(ConfigError, match=r'groups\[1\].match=.*earlier group'):
    resolve(
      dict(match='kernel', freeze=True), dict(match='head', learning_rate_scale=2)
    )


def test_a_decay_mask_that_matches_nothing_is_refused():
  with pytest.raises(ConfigError, match="optimizer.decay_mask='matrixes'"):
    resolve(decay_mask='matrixes')
