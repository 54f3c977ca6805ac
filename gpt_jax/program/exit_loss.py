"""The loss of an objective with `exits`: that of the last layer, and of some before."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.model import exits
from gpt_jax.objectives import Exits, layer_skip


@dataclasses.dataclass(frozen=True, eq=False)
class ExitLoss:
  """`loss(forward, example) -> LossSums`; its metrics are those of the last layer.

  In training they have `exit_loss` as well, the weighted mean of those before it; in
  evaluation one loss for each scored exit.
  """

  # (x_BTD after the last norm, head_VD, targets_BT, weights_BT) -> LossSums
  read_loss: Callable[..., Any]
  exits: Exits
  total_steps: int

  def __call__(self, forward, example):
    if forward.step is None:
      return self._evaluation(forward, example)
    return self._training(forward, example)

  def _training(self, forward, example):
    num_layers = forward.model.cfg.num_layers
    at = forward.step, self.total_steps, num_layers
    inputs = example.inputs_BT, example.mask, example.positions_BT
    streams_LBTD, last = forward.streams(*inputs, self.exits.drop_rates(*at))
    sums = self.read_loss(*last, example.targets_BT, example.weights_BT)
    weight_L = self.exits.weights(*at)
    count = self.exits.at_once(num_layers)
    objective = weight_L[-1] * sums.objective_sum
    exit_loss = jnp.zeros((), jnp.float32)
    if count:
      weight_E, index_E = jax.lax.top_k(weight_L[:-1], count)
      x_EBTD = exits.read(forward.model.cfg, forward.params, streams_LBTD[index_E])
      early = self._together(x_EBTD, last[1], example, weight_E)
      objective += early.objective_sum
      # Where no exit bears loss, there is nothing to divide.
      total = jnp.maximum(jnp.sum(weight_E), jnp.finfo(jnp.float32).tiny)
      exit_loss = early.metric_sums['loss'] / total
    metrics = sums.metric_sums | {'exit_loss': exit_loss}
    return dataclasses.replace(sums, objective_sum=objective, metric_sums=metrics)

  def _together(self, x_EBTD, head_VD, example, weight_E):
    """Returns the LossSums over all exits, each times its weight."""
    # Exits stand beside each other in time: shards of rows and time stay where they
    # are, and the gradient of the output layer is summed once.
    E, B, T, D = x_EBTD.shape
    x_BND = jnp.moveaxis(x_EBTD, 0, 2).reshape(B, T * E, D)
    targets_BN = jnp.repeat(example.targets_BT, E, axis=1)
    weights_BN = (example.weights_BT[..., None] * weight_E).reshape(B, T * E)
    return self.read_loss(x_BND, head_VD, targets_BN, weights_BN)

  def _evaluation(self, forward, example):
    cfg = forward.model.cfg
    layers = self.exits.scored(cfg.num_layers)
    inputs = example.inputs_BT, example.mask, example.positions_BT
    streams_LBTD, last = forward.streams(*inputs)
    sums = self.read_loss(*last, example.targets_BT, example.weights_BT)
    if not layers:
      return sums

    def loss_at(x_BTD):
      x_BTD = exits.read(cfg, forward.params, x_BTD)
      at_exit = self.read_loss(x_BTD, last[1], example.targets_BT, example.weights_BT)
      return at_exit.metric_sums['loss']

    x_EBTD = streams_LBTD[jnp.array([n - 1 for n in layers])]
    loss_E = jax.lax.map(loss_at, x_EBTD)
    found = {layer_skip.metric_name(n): loss_E[i] for i, n in enumerate(layers)}
    return dataclasses.replace(sums, metric_sums=sums.metric_sums | found)
