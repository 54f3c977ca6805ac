"""Next-token prediction after every layer, not the last alone: any depth can be used.

LayerSkip (arXiv:2404.16710): losses at early exits, read by the model's own last norm
and output layer, and whole layers that rows skip at random, later ones more often.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import Problem
from gpt_jax.core.sections import at_least, between, one_of, rate, section
from gpt_jax.objectives import causal_lm, losses
from gpt_jax.objectives.example import Exits

PREFIX = 'loss_at_layer_'


@section
class LayerSkip:
  """`objective.options` of layer_skip; section 4.1 of the paper has the letters."""

  exit_scale: float = at_least(0.0, default=0.2)  # e_scale, of the losses at exits
  # Which exits bear loss at a step. rotational: every `interval`-th layer, others the
  # next step; gradual: one more, from the last down, until half of the run; all.
  curriculum: str = one_of('rotational', 'gradual', 'all', default='rotational')
  interval: int = between(1, 1024, default=4)  # R, of rotational
  layer_dropout: float = rate(default=0.1)  # p_max: of the last layer; the first has 0
  # exponential: layer_dropout rises from 0 over the run, for one from scratch.
  dropout_curriculum: str = one_of('constant', 'exponential', default='exponential')
  eval_exits: int = between(1, 1024, default=4)  # whose held-out loss is reported


def problems(config):
  """Yields the Problems of a Config whose output layer cannot be read at exits."""
  if config.model.head_bias or config.model.head == 'none':
    field = 'head_bias' if config.model.head_bias else 'head'
    text = (
      f'={getattr(config.model, field)!r}: layer_skip reads exits by an output layer'
      ' without bias; set model.head="linear" and model.head_bias=False'
    )
    yield Problem(f'model.{field}', text)


@registry.entry(options=LayerSkip, problems=problems)
def make(cfg, *, vocab, seq_len):
  """Returns the left-to-right objective with losses at exits and layer dropout."""
  options = cfg.options
  return dataclasses.replace(
    causal_lm.make(cfg, vocab=vocab, seq_len=seq_len),
    exits=Exits(
      weights=lambda *at: exit_weights(options, *at),
      at_once=lambda num_layers: exits_at_once(options, num_layers),
      drop_rates=lambda *at: drop_rates(options, *at),
      scored=lambda num_layers: scored_layers(options, num_layers),
    ),
    step_metrics=('loss', 'accuracy', 'exit_loss'),
    metrics=exit_metrics,
  )


def exit_weights(options, step, total_steps, num_layers):
  """Returns the share of each exit in the loss of a step, float32 [L], of sum 1.

  Equations 4 and 5: later exits weigh more, the last layer's most; the first layer's
  has none.
  """
  layer_L = jnp.arange(num_layers)
  sums_L = layer_L * (layer_L + 1) / 2
  last = num_layers - 1
  weight_L = options.exit_scale * sums_L
  weight_L = weight_L.at[-1].set(
    max(last, 1) + options.exit_scale * last * (last - 1) / 2
  )
  if options.curriculum == 'rotational':
    is_on_L = layer_L % options.interval == step % options.interval
  elif options.curriculum == 'gradual':
    enabled = step * (2 * num_layers / max(total_steps, 1))
    is_on_L = layer_L >= last - jnp.floor(enabled)
  else:
    is_on_L = jnp.ones(num_layers, bool)
  weight_L = jnp.where(is_on_L | (layer_L == last), weight_L, 0.0)
  return (weight_L / jnp.sum(weight_L)).astype(jnp.float32)


def exits_at_once(options, num_layers):
  """Returns how many exits before the last layer bear loss in a step, at most."""
  before = num_layers - 1
  if options.curriculum != 'rotational':
    return before
  return -(-before // options.interval)


def drop_rates(options, step, total_steps, num_layers):
  """Returns the rate at which a row skips each layer, float32 [L]. Equations 1 to 3."""
  place_L = np.arange(num_layers) / max(num_layers - 1, 1)
  rate_L = jnp.asarray(np.exp2(place_L) - 1, jnp.float32) * options.layer_dropout
  if options.dropout_curriculum == 'exponential':
    rate_L *= jnp.exp2(jnp.minimum(step / max(total_steps - 1, 1), 1.0)) - 1
  return rate_L


def scored_layers(options, num_layers):
  """Returns after how many layers evaluation reports a loss; evenly spaced."""
  count = min(options.eval_exits, num_layers)
  return tuple(math.ceil(num_layers * i / count) for i in range(1, count))


def exit_metrics(sums) -> dict[str, float]:
  """Returns `losses.token_metrics` and, for each scored exit, its loss in nats."""
  count = max(sums['targets'], 1.0)
  exits = {name: total / count for name, total in sums.items() if is_exit_loss(name)}
  return losses.token_metrics(sums) | exits


def metric_name(layers):
  """Returns the name of the held-out loss after so many layers."""
  return f'{PREFIX}{layers}'


def is_exit_loss(name):
  """Returns whether a metric is one of `metric_name`."""
  return name.startswith(PREFIX)
