"""Which kernel a config gets, and what is bound to it."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import (
  CANNOT,
  KERNELS,
  NO_VIRTUAL,
  SHARDED_KERNELS,
  bind,
  choose_kernel,
  dense,
  masks,
  ring,
)
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import positions
from tests import small_models as small


def rules_on(platform, time_shards=1):
  """Returns what `choose_kernel` asks of rules, on devices that are not here."""
  devices = np.array([types.SimpleNamespace(platform=platform)])
  return types.SimpleNamespace(
    mesh=types.SimpleNamespace(devices=devices),
    num_shards=lambda name: time_shards,
    mesh_axes={'time': 'sequence'},
  )


def chosen(rules=None, has_prefix=False, **overrides):
  """Returns the name of the kernel for a small model with `overrides`."""
  config = small.resolve(**overrides)
  has_slopes = positions.has_slopes(config.model)
  return choose_kernel(
    config, rules=rules, has_prefix=has_prefix, has_slopes=has_slopes
  )[0]


LONG = dict(data__seq_len=1024, model__head_dim=128)
SHORT = dict(data__seq_len=64, model__head_dim=64)


@pytest.mark.parametrize(
  'platform, overrides, expected',
  [
    ('tpu', LONG, 'splash'),
    ('tpu', LONG | dict(attention__softcap=30.0), 'splash'),
    ('tpu', LONG | dict(data__seq_len=1000), 'blockwise'),
    ('tpu', LONG | dict(model__head_dim=80), 'splash'),
    ('tpu', LONG | dict(model__head_dim=32), 'blockwise'),
    ('tpu', LONG | dict(model__position='alibi'), 'blockwise'),
    ('tpu', LONG | dict(model__attention_dropout=0.1), 'dense'),
    ('gpu', LONG, 'fused'),
    ('gpu', SHORT, 'fused'),
    ('gpu', SHORT | dict(attention__softcap=1.0), 'dense'),
    ('gpu', SHORT | dict(model__attention_dropout=0.1), 'dense'),
    ('gpu', SHORT | dict(model__position='alibi'), 'dense'),
    ('cpu', LONG, 'blockwise'),
    ('cpu', LONG | dict(attention__softcap=2.0), 'blockwise'),
    ('cpu', LONG | dict(model__attention_dropout=0.1), 'dense'),
    ('cpu', SHORT, 'dense'),
  ],
)
def test_auto_takes_the_fastest_kernel_for_the_model(platform, overrides, expected):
  assert chosen(rules_on(platform), **overrides) == expected


def test_auto_takes_blocks_for_prefixes_on_a_tpu():
  assert chosen(rules_on('tpu'), has_prefix=True, **LONG) == 'blockwise'


def test_auto_takes_the_ring_where_time_is_sharded():
  rules = rules_on('cpu', time_shards=2)
  assert chosen(rules, **SHORT) == 'ring'
  assert chosen(rules, **SHORT, model__attention_dropout=0.1) == 'dense'


def test_a_named_kernel_is_taken_at_any_length():
  for name in KERNELS:
    assert chosen(attention__kernel=name) == name
  assert chosen(rules_on('cpu'), attention__kernel='ring') == 'ring'


@pytest.mark.parametrize('name', ['auto', 'ring', 'splash'])
def test_decoding_takes_a_kernel_without_a_mesh(name, monkeypatch):
  assert chosen(attention__kernel=name, **LONG) == 'blockwise'
  assert chosen(attention__kernel=name, **SHORT) == 'dense'
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert chosen(attention__kernel=name, **SHORT) == 'fused'


def test_decoding_ignores_attention_dropout():
  assert chosen(**LONG, model__attention_dropout=0.1) == 'blockwise'


def test_a_ring_checks_the_length_when_it_is_chosen():
  with pytest.raises(ConfigError, match=r'data\.seq_len=20: .* try 24'):
    chosen(rules_on('cpu', time_shards=4), data__seq_len=20)
  chosen(rules_on('cpu'), data__seq_len=20, attention__kernel='ring')


def test_a_misspelt_kernel_gets_the_nearest_name():
  with pytest.raises(ConfigError, match="did you mean 'dense'"):
    chosen(attention__kernel='dens')


@pytest.mark.parametrize('init, scale', [('gpt2', 1 / 4), ('mup', 1 / 16)])
def test_scale_follows_the_head_width_unless_set(init, scale):
  config = small.resolve(model__head_dim=16, model__init=init, attention__softcap=3.0)
  _, attend = choose_kernel(config, has_slopes=False)
  assert attend.func is dense.attend
  assert attend.keywords == {'scale': scale, 'softcap': 3.0}
  config = small.resolve(model__init=init, attention__scale=0.7)
  assert choose_kernel(config, has_slopes=False)[1].keywords['scale'] == 0.7
  unset = bind(dense.attend, small.model_config(head_dim=16, init=init))
  assert unset.keywords == {'scale': scale, 'softcap': 0.0}


def test_a_sharded_kernel_is_bound_to_its_rules():
  rules = rules_on('cpu', time_shards=2)
  config = small.resolve(attention__kernel='ring')
  _, attend = choose_kernel(config, rules=rules, has_slopes=False)
  assert attend.func is ring.attend
  assert attend.keywords['rules'] is rules


@pytest.mark.parametrize('feature', ['softcap', 'dropout'])
@pytest.mark.parametrize('name', sorted(KERNELS | SHARDED_KERNELS))
def test_kernels_refuse_what_config_loading_refuses(name, feature):
  row_BHTK = jnp.zeros((1, 1, 128, 8))
  asked = {'softcap': 0.0, 'dropout': None}
  asked[feature] = {'softcap': 1.0, 'dropout': lambda weights: weights}[feature]
  attend = (KERNELS | SHARDED_KERNELS)[name]
  run = functools.partial(attend, row_BHTK, row_BHTK, row_BHTK, masks.causal(), scale=1)
  if feature not in CANNOT.get(name, ()):
    assert run(**asked).shape == row_BHTK.shape
    return
  with pytest.raises(ConfigError, match=feature):
    run(**asked)


@pytest.mark.parametrize('name', NO_VIRTUAL)
def test_kernels_without_virtual_keys_are_refused_by_name(name):
  config = small.resolve(attention__kernel=name, peft__name='prefix')
  rules = rules_on('cpu', time_shards=2)
  with pytest.raises(ConfigError, match=f'kernel=\'{name}\'.*kernel="dense"'):
    choose_kernel(config, rules=rules, has_slopes=False, has_virtual=True)
  rows = [jnp.zeros((1, 1, n, 8)) for n in (128, 130, 130)]
  attend = functools.partial((KERNELS | SHARDED_KERNELS)[name], rules=rules)
  mask = masks.causal().with_virtual(2)
  with pytest.raises(ConfigError, match='has no virtual keys'):
    attend(*rows, mask, scale=1)


def test_auto_takes_a_kernel_that_has_virtual_keys():
  for platform, time_shards in (('tpu', 1), ('cpu', 2)):
    config = small.resolve(data__seq_len=1024, model__head_dim=64)
    rules = rules_on(platform, time_shards=time_shards)
    names = [
      choose_kernel(config, rules=rules, has_slopes=False, has_virtual=has)[0]
      for has in (False, True)
    ]
    assert names[0] in NO_VIRTUAL
    assert names[1] == 'blockwise'
