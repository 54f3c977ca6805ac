"""muP's learning rates: a few steps change a layer's output alike at every width."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from configs import base
from gpt_jax import objectives, optimizers
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import flops, initializers
from gpt_jax.optimizers import mup
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import small_models as small
from tests import tiny_runs

CFG = load.resolve(base.get_config()).optimizer
BASE = 32

PEAKS = {'adamw': 4e-3, 'lion': 4e-3, 'muon': 4e-3, 'adafactor': 0.1, 'sgd': 0.3}
"""At which five steps change the model much, and not beyond what is linear."""


def coordinates(name, width, has_rates=True, steps=5, **fields):
  """Returns {what: RMS of its change by a few steps} of a model of `width`."""
  config = small.resolve(**dict(
    model__init='mup', model__mup_base_width=BASE, model__d_model=width,
    model__num_heads=width // 16, model__tie_embeddings=False,
    data__seq_len=16, model__vocab_size=32,
  ) | fields)  # fmt: skip
  model = small.make_gpt(config)
  tokens_BT = small.random_tokens(8, 17, 32)
  loss = small.nats(model)
  cfg = dataclasses.replace(
    CFG, name=name, learning_rate=PEAKS[name], muon_learning_rate=0.02,
    weight_decay=0.0, clip_norm=0.0, momentum=0.5,
  )  # fmt: skip
  relative = initializers.relative_width(config.model) if has_rates else 1.0
  transform = optimizers.make_optimizer(
    cfg, lambda step: 1.0, nn.unbox(small.boxed_shapes(model)), relative
  )

  def outputs(params):
    logits_BTV, kept = model.apply(
      {'params': params}, tokens_BT[:, :-1], mutable='intermediates',
      capture_intermediates=lambda module, _: module.name in ('attention', 'mlp'),
    )  # fmt: skip
    (last,) = kept['intermediates']['layers']['block_0']['mlp']['__call__']
    (attended,) = kept['intermediates']['layers']['block_0']['attention']['__call__']
    return {'mlp': last[-1], 'attention': attended[0][-1], 'logits': logits_BTV[0]}

  @small.jit
  def run(key):
    params = nn.unbox(model.init(key, tokens_BT[:, :-1])['params'])

    def step(_, carry):
      params, state = carry
      grads = jax.grad(loss)(params, tokens_BT)
      updates, state = transform.update(grads, state, params)
      return optax.apply_updates(params, updates), state

    after, _ = jax.lax.fori_loop(0, steps, step, (params, transform.init(params)))
    change = jax.tree.map(jnp.subtract, outputs(after), outputs(params))
    return jax.tree.map(lambda x: jnp.sqrt(jnp.square(x).mean()), change)

  return {what: float(rms) for what, rms in run(jax.random.key(0)).items()}


@functools.cache
def growth(name, has_rates=True):
  """Returns {what: its change at 8 times the base width over that at the base}."""
  narrow, wide = coordinates(name, BASE), coordinates(name, 8 * BASE, has_rates)
  return {what: wide[what] / narrow[what] for what in wide}


# SGD's limit is reached late; what matters is that it does not grow.
@pytest.mark.slow
@pytest.mark.parametrize(
  'name, least',
  [
    ('adamw', 0.7),
    ('lion', 0.7),
    ('muon', 0.7),
    ('adafactor', 0.7),
    ('sgd', 0.25),
  ],
)
def test_outputs_change_alike_at_eight_times_the_width(name, least):
  for what, ratio in growth(name).items():
    assert least < ratio < 1.4, what


@pytest.mark.slow
@pytest.mark.parametrize(
  'name, low, high',
  [
    ('adamw', 8, 20),
    ('lion', 15, 40),
    ('muon', 0.9, 1.1),  # its rates are all 1
    ('adafactor', 1.7, 4),
    ('sgd', 0.0, 0.1),
  ],
)
def test_without_its_rates_the_mlp_changes_by_other_amounts(name, low, high):
  assert low < growth(name, has_rates=False)['mlp'] < high


def test_every_entry_says_how_its_rates_change_with_width():
  for build in optimizers.OPTIMIZERS.values():
    assert set(build.width_rule.rates) | set(build.width_rule.shown) <= set(mup.KINDS)


def test_a_plug_in_that_does_not_say_so_is_refused_under_mup():
  params = {'final_norm': {'scale': jnp.ones(4)}}
  cfg = dataclasses.replace(CFG, name='tests.optimizers.test_mup:plain_sgd')
  optimizers.make_optimizer(cfg, lambda step: 1.0, params)
  with pytest.raises(ConfigError, match='plain_sgd.*does not say.*by_width'):
    optimizers.make_optimizer(cfg, lambda step: 1.0, params, width=2.0)


def plain_sgd(cfg, names):
  return optax.identity(), dict.fromkeys(names, cfg.learning_rate)


def test_parameters_are_of_the_kinds_that_the_table_lists():
  config = small.resolve(model__tie_embeddings=False, model__activation='swiglu')
  names = [n for n, _ in pytree.named_leaves(flops.abstract_params(config.model))]
  kinds = {}
  for name in [*names, 'task_head/kernel', 'task_head/out/kernel', 'task_head/bias']:
    kinds.setdefault(mup.kind(name), set()).add(name.split('/', 1)[-1])
  block = 'block_0/'
  assert kinds['input'] == {'embedding'}
  assert kinds['query'] == {block + 'attention/query/kernel'}
  assert kinds['hidden'] == {
    block + 'attention/key/kernel', block + 'attention/value/kernel',
    block + 'attention/out/kernel', block + 'mlp/up/kernel', block + 'mlp/gate/kernel',
    block + 'mlp/down/kernel',
  }  # fmt: skip
  assert (kinds['output'], kinds['readout']) == ({'kernel'}, {'kernel', 'out/kernel'})
  assert all(name.endswith(('bias', 'scale')) for name in kinds['vector'])
  assert mup.kind('layers_3/block_0/mlp/up/kernel') == 'hidden'
  assert mup.kind('task_head/pooler_kernel') == 'hidden'


PARAMS = {
  'embed': {'embedding': jnp.ones((3, 4))},
  'layers': {'mlp': {'up': {'kernel': jnp.ones((2, 4, 4))}}},
}


def first_update(width, gradient, **fields):
  cfg = dataclasses.replace(CFG, **dict(learning_rate=0.5, clip_norm=0.0) | fields)
  transform = optimizers.make_optimizer(cfg, lambda step: 1.0, PARAMS, width)
  gradients = jax.tree.map(lambda p: gradient * p, PARAMS)
  updates, _ = transform.update(gradients, transform.init(PARAMS), PARAMS)
  return {name: float(leaf.ravel()[0]) for name, leaf in pytree.named_leaves(updates)}


def test_hidden_rates_are_divided_and_decay_is_not():
  # Adam's first step is the sign of the gradient.
  steps = first_update(4.0, 1.0, weight_decay=0.0)
  assert list(steps.values()) == pytest.approx([-0.5, -0.5 / 4])
  for mode, decay in (('coupled', 0.5 * 0.1), ('independent', 0.1)):
    idle = first_update(4.0, 0.0, weight_decay=0.1, weight_decay_mode=mode)
    assert list(idle.values()) == pytest.approx([-decay, -decay])
  scaled = dict(match='up/kernel', learning_rate_scale=0.5)
  steps = first_update(4.0, 1.0, weight_decay=0.0, groups=(scaled,))
  assert list(steps.values()) == pytest.approx([-0.5, -0.5 / 8])


def test_metrics_name_the_rates_that_differ():
  names = [name for name, _ in pytree.named_leaves(PARAMS)]
  assert optimizers.metric_rates(CFG, names, 1.0) == {'learning_rate': 1e-3}
  assert optimizers.metric_rates(CFG, names, 4.0) == {
    'learning_rate': 1e-3, 'learning_rate_hidden': 2.5e-4,
  }  # fmt: skip


def test_only_mup_makes_widths_relative():
  for init, want in (('gpt2', 1), ('fan_in', 1), ('mup', 2)):
    cfg = small.model_config(init=init, mup_base_width=8)
    assert initializers.relative_width(cfg) == want


def test_a_program_of_mup_trains_with_its_rates():
  config = tiny_runs.tiny_config({'model.init': 'mup', 'model.mup_base_width': 8})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = build_program(config, vocab=objectives.Vocab(size=8), mesh=mesh)
  batch = {'tokens': jax.ShapeDtypeStruct((8, 17), jnp.int32)}
  _, metrics = jax.eval_shape(program.step, program.abstract_state, batch)
  assert {'learning_rate', 'learning_rate_hidden', 'learning_rate_query'} <= set(
    metrics
  )
