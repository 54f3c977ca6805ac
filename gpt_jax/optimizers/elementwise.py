"""Elementwise optimizers: AdamW, Lion, SGD."""

import optax

from gpt_jax.optimizers.mup import ENTRYWISE, by_width


@by_width(ENTRYWISE)
def adamw(cfg, names):
  """Returns Adam's direction; decay is decoupled. arXiv:1412.6980, arXiv:1711.05101."""
  return optax.scale_by_adam(cfg.b1, cfg.b2, cfg.eps), one_rate(cfg, names)


@by_width(ENTRYWISE)
def lion(cfg, names):
  """Returns Lion's signs, for rates 3 to 10 times below AdamW's. arXiv:2302.06675."""
  return optax.scale_by_lion(cfg.b1, cfg.b2), one_rate(cfg, names)


@by_width({'input': 1, 'vector': 1, 'output': 1, 'readout': -1})
def sgd(cfg, names):
  """Returns the gradient, or its trace with `momentum` and `nesterov`."""
  if not cfg.momentum:
    return optax.identity(), one_rate(cfg, names)
  return optax.trace(cfg.momentum, cfg.nesterov), one_rate(cfg, names)


def one_rate(cfg, names):
  """Returns `learning_rate` as the peak of every parameter."""
  return dict.fromkeys(names, cfg.learning_rate)
