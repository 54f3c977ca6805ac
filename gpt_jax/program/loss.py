"""The sums of the loss of an example: the objective's own, or over tokens."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import einsum
from gpt_jax.data import pipeline
from gpt_jax.model.gpt import GPT
from gpt_jax.model.output_layer import scale_and_cap_logits
from gpt_jax.objectives import fused_loss, losses
from gpt_jax.parallel.sharding import constrain
from gpt_jax.program import embedding_hook
from gpt_jax.program.exit_loss import ExitLoss
from gpt_jax.program.forward import Forward


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
  """`loss(params, example, dropout rng, references, step, perturbation) -> LossSums`.

  Rng and step are those of training; without them it is an evaluation. A perturbation,
  float32 [B, T, D], is added to the embedded tokens.

  What modules sow into 'losses' is added once for each unit of weight, so that the mean
  over the weights has it once (Switch Transformer, arXiv:2101.03961, section 2.2).
  """

  name: str  # 'plain', 'fused' or, for an objective's own, 'custom'
  function: Callable[[Forward, Any], Any]  # -> LossSums
  model: GPT
  has_auxiliary_losses: bool = False
  reference_models: Mapping[str, GPT] = dataclasses.field(default_factory=dict)

  def forward(
    self, params, dropout_rng=None, references=None, step=None, perturbation_BTD=None
  ):
    """Returns the Forward that losses and metrics of an example call."""
    changes = ()
    if perturbation_BTD is not None:
      changes = (embedding_hook.adding(perturbation_BTD, self.model.rules),)
    return Forward(
      self.model,
      params,
      dropout_rng,
      step,
      self.has_auxiliary_losses,
      {
        name: Forward(model, jax.lax.stop_gradient((references or {})[name]))
        for name, model in self.reference_models.items()
      },
      changes,
    )

  def __call__(
    self,
    params,
    example,
    dropout_rng=None,
    references=None,
    step=None,
    perturbation_BTD=None,
  ):
    forward = self.forward(params, dropout_rng, references, step, perturbation_BTD)
    sums = self.function(forward, example)
    if not self.has_auxiliary_losses:
      return sums
    auxiliary = forward.auxiliary_loss * sums.weight_sum
    metrics = sums.metric_sums | {'auxiliary_loss': auxiliary}
    return dataclasses.replace(
      sums, objective_sum=sums.objective_sum + auxiliary, metric_sums=metrics
    )


def outputs_of(objective, forward, example):
  """Returns the outputs [B, T, C] that predict the targets of an example."""
  if objective.outputs is not None:
    return objective.outputs(forward, example)
  return forward(*example.inputs)


def make_loss(config, objective, model, horizon, *, vocab_limit, **fields):
  """Returns the Loss of an objective; `fields` are the last ones of Loss.

  Over tokens, 'plain' and 'fused' agree to rounding. objective.loss='auto' fuses when
  the logits of the largest microbatch take more than fused_loss.FUSE_FROM on a device.
  """
  if objective.loss is not None:
    return Loss('custom', objective.loss, model, **fields)
  options = dict(
    label_smoothing=config.objective.label_smoothing,
    z_loss=config.objective.z_loss,
  )
  if objective.num_outputs or objective.outputs is not None:
    function = functools.partial(_plain, objective=objective, options=options)
    return Loss('plain', function, model, **fields)
  if config.model.head == 'none':
    raise ConfigError(
      f'model.head="none": objective.name={config.objective.name!r} predicts tokens,'
      ' and this model has no output layer. To embed texts it needs none: `gpt-jax'
      ' embed`. To train, set "linear" or "transform" (a new one), or an objective with'
      ' a task head, such as class_labels.'
    )
  rows = max(stage.batch_size for stage in horizon.present) // config.train.grad_accum
  shape_BTV = (rows, config.data.seq_len, config.model.vocab_size)
  if objective.exits is not None:
    exits_at_once = objective.exits.at_once(config.model.num_layers)
    shape_BTV = (rows, config.data.seq_len * max(1, exits_at_once), shape_BTV[-1])
  size = fused_loss.logits_bytes(shape_BTV, fused_loss.num_shards(model.rules))
  name = fused_loss.choose(config.objective.loss, size)
  if config.model.head_bias:
    name = 'plain'
  options['vocab_limit'] = vocab_limit
  skips = _has_tokens_without_loss(config, objective)
  if objective.exits is not None:
    read_loss = _read_loss(name, model, options, skips)
    function = ExitLoss(read_loss, objective.exits, horizon.total_steps)
  elif name == 'plain':
    function = functools.partial(_plain, objective=objective, options=options)
  else:
    read_loss = _read_loss(name, model, options, skips)
    function = functools.partial(_fused, read_loss=read_loss)
  return Loss(name, function, model, **fields)


def _plain(forward, example, *, objective, options):
  outputs_BTC = outputs_of(objective, forward, example)
  return losses.cross_entropy(
    outputs_BTC,
    example.targets_BT,
    example.weights_BT,
    loss_weights_BT=example.loss_weights_BT,
    **options,
  )


def _fused(forward, example, *, read_loss):
  x_BTD, head_VD = forward.hidden(*example.inputs)
  return read_loss(x_BTD, head_VD, example.targets_BT, example.weights_BT)


def _has_tokens_without_loss(config, objective):
  """Returns whether many tokens bear no loss: prompts, or what a masked model sees."""
  has_mask = 'loss_mask' in pipeline.declared_fields(config.data)
  return bool(config.task.name) or has_mask or not objective.predicts_text


def _read_loss(name, model, options, skips) -> Callable[..., Any]:
  """Returns `(x_BTD, head_VD, targets_BT, weights_BT) -> LossSums` of GPT.hidden's."""
  transform = functools.partial(scale_and_cap_logits, model.cfg)
  if name == 'fused':
    return functools.partial(
      fused_loss.fused_cross_entropy, transform=transform, rules=model.rules,
      skips=skips, **options,
    )  # fmt: skip

  def plain(x_BTD, head_VD, targets_BT, weights_BT):
    head_VD = head_VD.astype(x_BTD.dtype)
    logits_BTV = transform(einsum('BTD,VD->BTV', x_BTD, head_VD, jnp.float32))
    logits_BTV = constrain(model.rules, logits_BTV, 'batch', 'time', 'act_vocab')
    return losses.cross_entropy(logits_BTV, targets_BT, weights_BT, **options)

  return plain
