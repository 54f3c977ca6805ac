"""muP's learning rates: a few steps change a layer's output alike at every width."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from gpt_jax import optimizers
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import initializers
from gpt_jax.optimizers import mup
from tests import small_models as small

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
