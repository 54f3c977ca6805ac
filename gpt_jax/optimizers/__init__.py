"""Optimizers by name: a chain of optax transformations, s(t) the schedule with peak 1.

  clip        g <- g min(1, clip_norm / |g|), the norm over all trained parameters
  direction   u <- OPTIMIZERS[name]: the update at learning rate 1
  descend     theta <- theta - s(t) lr (m u + wd theta)    weight_decay_mode='coupled'
              theta <- theta - s(t) (lr m u + wd theta)    'independent', 2309.14322

m is 1, or what muP asks for at another width than the base (`mup.py`); lr falls with
depth where `layer_decay.py` says so.
All of it in float32 (`precision.py`). lr and wd of each parameter come from
`groups.py`. The modes are the same run when
wd(coupled) = wd(independent) / lr. A new optimizer is a file and a line in OPTIMIZERS.
"""

import jax
import jax.numpy as jnp
import optax

from gpt_jax.core import pytree, registry
from gpt_jax.optimizers import (
  adafactor,
  elementwise,
  groups,
  layer_decay,
  muon,
  mup,
  trainable,
)
from gpt_jax.optimizers.ema import ema_init, ema_update
from gpt_jax.optimizers.precision import in_float32

OPTIMIZERS = {
  'adamw': elementwise.adamw,
  'adafactor': adafactor.make,
  'lion': elementwise.lion,
  'muon': muon.make,
  'sgd': elementwise.sgd,
}
"""Each entry: `(cfg, names) -> (direction, {name: peak learning rate})`; the direction
treats a stack of layers (`layers/...`, a leading axis) as it would each layer."""


def make_optimizer(cfg, schedule, params, width=1.0):
  """Returns the optax transformation of an OptimizerConfig.

  `schedule` is `step -> fraction of the peak`; `params`, all of them, may be shapes;
  `width` is that of the model over muP's base, 1 without muP.
  The transformation itself sees those that train (`trainable.select`). Raises
  ConfigError for an unknown name, and for masks and groups that match no parameter.
  """
  names = [name for name, _ in pytree.named_leaves(params)]
  settings = groups.resolve(cfg, names)
  build = registry.lookup(OPTIMIZERS, cfg.name, 'optimizer.name')
  direction, learning_rates = build(cfg, names)
  for name, multiplier in layer_decay.multipliers(cfg.layer_decay, params).items():
    learning_rates[name] = learning_rates[name] * multiplier
  factors = mup.factors(build, cfg.name, width)
  clip = _clip(cfg.clip_norm) if cfg.clip_norm else optax.identity()
  transform = in_float32(
    optax.chain(
      clip,
      mup.show(direction, build, width),
      _descend(settings, learning_rates, factors, cfg.weight_decay_mode == 'coupled'),
      optax.scale_by_schedule(lambda step: -schedule(step)),
    )
  )
  if not any(setting.freeze for setting in settings.values()):
    return transform
  return trainable.as_partition(transform)


def _clip(limit):
  """Returns the transformation `g -> g min(1, limit / |g|)`."""

  # One factor for all: optax's clipping divides each number, and XLA:CPU materializes
  # the quotients instead of fusing them into their consumers.
  def clip(updates, _):
    norm = optax.tree.norm(updates)
    factor = jnp.minimum(1.0, limit / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
    return jax.tree.map(lambda update: (factor * update).astype(update.dtype), updates)

  return optax.stateless(clip)


def metric_rates(cfg, names, width):
  """Returns {metric: peak rate}: `learning_rate`, and of kinds that muP changes."""
  build = registry.lookup(OPTIMIZERS, cfg.name, 'optimizer.name')
  factors = mup.factors(build, cfg.name, width)
  rates = {
    f'learning_rate_{kind}': factors[kind] * cfg.learning_rate
    for kind in sorted(set(map(mup.kind, names)))
    if factors[kind] != 1
  }
  return {'learning_rate': cfg.learning_rate} | rates


def _descend(settings, learning_rates, factors, is_coupled):
  """Returns the transformation `u -> lr (m u + wd theta)`, or `lr m u + wd theta`."""

  def step(name, update, param):
    learning_rate = learning_rates[name] * settings[name].learning_rate_scale
    weight_decay = settings[name].weight_decay
    factor = factors[mup.kind(name)]
    if factor != 1:
      update = factor * update
    if not weight_decay:
      return learning_rate * update
    if is_coupled:
      return learning_rate * (update + weight_decay * param)
    return learning_rate * update + weight_decay * param

  return optax.stateless(
    lambda updates, params: pytree.map_named(step, updates, params)
  )


__all__ = [
  'OPTIMIZERS', 'ema_init', 'ema_update', 'make_optimizer', 'metric_rates',
]  # fmt: skip
