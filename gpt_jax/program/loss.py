"""The sums of the loss of an example: with all logits at once, or in chunks."""

import functools

from gpt_jax.model.gpt import scale_and_cap_logits
from gpt_jax.objectives import fused_loss, losses


def make_loss(config, model, rules, horizon, *, vocab_limit):
  """Returns (name, `(params, example, dropout rng or None) -> LossSums`).

  'plain' and 'fused' agree to rounding. objective.loss='auto' fuses when the logits of
  the largest microbatch take more than fused_loss.FUSE_FROM on a device.
  """
  rows = max(stage.batch_size for stage in horizon.present) // config.train.grad_accum
  shape_BTV = (rows, config.data.seq_len, config.model.vocab_size)
  size = fused_loss.logits_bytes(shape_BTV, fused_loss.num_shards(rules))
  name = fused_loss.choose(config.objective.loss, size)
  options = dict(
    label_smoothing=config.objective.label_smoothing,
    z_loss=config.objective.z_loss,
    vocab_limit=vocab_limit,
  )
  if name == 'plain':
    return name, functools.partial(_plain, model=model, options=options)
  options |= dict(
    transform=functools.partial(scale_and_cap_logits, config.model), rules=rules
  )
  return name, functools.partial(_fused, model=model, options=options)


def logits(model, params, example):
  """Returns the logits of an example, [B, T, V] float32, without dropout."""
  return _apply(model, params, example, None)[0]


def _plain(params, example, dropout_rng, *, model, options):
  logits_BTV, _ = _apply(model, params, example, dropout_rng)
  return losses.cross_entropy(
    logits_BTV, example.targets_BT, example.weights_BT, **options
  )


def _fused(params, example, dropout_rng, *, model, options):
  x_BTD, head_VD, _ = _apply(model, params, example, dropout_rng, method='hidden')
  return fused_loss.fused_cross_entropy(
    x_BTD, head_VD, example.targets_BT, example.weights_BT, **options
  )


def _apply(model, params, example, dropout_rng, method='__call__'):
  return model.apply(
    {'params': params},
    example.inputs_BT,
    example.mask,
    example.positions_BT,
    deterministic=dropout_rng is None,
    rngs=None if dropout_rng is None else {'dropout': dropout_rng},
    method=method,
  )
