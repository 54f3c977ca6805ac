"""How each kind of parameter is initialized: GPT-2's rule, truncated fan-in, muP."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax


def with_axes(initializer, *names) -> Callable[..., Any]:
  """Returns `initializer` whose parameters carry logical axis `names`."""
  # Not annotated as in flax: `Module.param` returns the array inside the box.
  return nn.with_logical_partitioning(initializer, names)


def hidden(cfg, fan_in):
  """Returns the initializer of a matrix that reads `fan_in` features."""
  if cfg.init == 'fan_in':
    return truncated_normal(1 / math.sqrt(fan_in))
  return nn.initializers.normal(_width_std(cfg))


def residual(cfg, fan_in):
  """Returns the initializer of a matrix that writes to the residual stream."""
  if cfg.init == 'fan_in':
    return truncated_normal(1 / math.sqrt(fan_in))
  # Divided by sqrt(2 L), which keeps the stream's variance constant with depth: Radford
  # et al. 2019 (GPT-2), section 2.3.
  return nn.initializers.normal(_width_std(cfg) / math.sqrt(2 * cfg.num_layers))


def query(cfg, fan_in):
  """Returns the initializer of queries: zero under muP (arXiv:2203.03466, app. D.2)."""
  return nn.initializers.zeros if cfg.init == 'mup' else hidden(cfg, fan_in)


def embedding(cfg):
  """Returns the initializer of token and position embeddings."""
  if cfg.init == 'fan_in':
    return nn.initializers.normal(1 / math.sqrt(cfg.d_model))
  return nn.initializers.normal(cfg.init_std)


def head(cfg):
  """Returns the initializer of an untied output head: zero under muP."""
  return nn.initializers.zeros if cfg.init == 'mup' else hidden(cfg, cfg.d_model)


def readout(cfg, fan_in):
  """Returns the initializer of a task head's matrix; muP: arXiv:2203.03466, table 3."""
  return truncated_normal(1 / math.sqrt(fan_in * relative_width(cfg)))


def output_multiplier(cfg):
  """Returns what logits are multiplied by: base width / width under muP, else 1."""
  return cfg.mup_base_width / cfg.d_model if cfg.init == 'mup' else 1.0


def relative_width(cfg):
  """Returns width / base width under muP, else 1: `optimizers/mup.py` has the rules."""
  return cfg.d_model / cfg.mup_base_width if cfg.init == 'mup' else 1.0


def truncated_normal(std):
  """Returns a normal initializer truncated at two sigma, with deviation `std`."""
  # Truncation narrows the standard deviation to 0.8796 of the normal's.
  return lambda key, shape, dtype: (
    jax.random.truncated_normal(key, -2, 2, shape, dtype) * (std / 0.87962566)
  )


def _width_std(cfg):
  """Returns init_std, under muP scaled so that the variance is ~ 1 / fan-in."""
  if cfg.init == 'mup':
    return cfg.init_std * math.sqrt(cfg.mup_base_width / cfg.d_model)
  return cfg.init_std
