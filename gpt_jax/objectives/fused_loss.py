"""Cross-entropy over a large vocabulary without an array of all logits."""

# The plain loss keeps B x T x V logits and their gradient: 13 GB each in float32 for 64
# rows of 1024 tokens over 50k ids. Here a scan over chunks of time computes logits,
# sums and gradients of a chunk together; the backward pass only scales the gradients,
# so no matmul runs twice. What is kept grows with the embedding (V x D) and the hidden
# states (B x T x D) only.
#
# A leading P and S in names stand for the devices along batch and time: each has chunks
# of its own tokens and its own sum of the embedding's gradient. So the embedding is
# gathered once before the scan, its gradient reduced once after it, and nothing in
# between waits for another device. Only a vocabulary that is sharded itself (over
# `tensor`) needs sums inside.

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gpt_jax.core.matmul import contract, einsum
from gpt_jax.objectives import losses
from gpt_jax.objectives.targets_first import targets_first
from gpt_jax.parallel.sharded_matmul import sum_over_batch
from gpt_jax.parallel.sharding import ShardingRules

FUSE_FROM = 2**28
"""Bytes of float32 logits on a device above which 'auto' fuses."""

LOGITS_BYTES = 2**29
"""Float32 logits that a device makes at once, at most."""
# Not less, since each chunk reads and writes the embedding's complete gradient: for
# GPT-2 124M on a TPU v5e its matmuls take 5.2 ms in 4 chunks of 2048 tokens and 7.6 in
# 8, of a step of 82.


def choose(name, num_bytes):
  """Returns 'plain' or 'fused' for `objective.loss`; 'auto' depends on `num_bytes`."""
  if name != 'auto':
    return name
  return 'fused' if num_bytes > FUSE_FROM else 'plain'


def logits_bytes(shape_BTV, shards_BTV):
  """Returns the size of one device's float32 logits sharded into `shards_BTV`."""
  pairs = zip(shape_BTV, shards_BTV, strict=True)
  return 4 * math.prod(-(-size // parts) for size, parts in pairs)


def fused_cross_entropy(
  x_BTD,
  head_VD,
  targets_BT,
  weights_BT,
  *,
  transform=lambda logits_BTV: logits_BTV,
  chunks=None,
  rules=None,
  skips=False,
  **options,
):
  """Returns the LossSums of `losses.cross_entropy` on logits `x_BTD` @ `head_VD`.T.

  Only `objective_sum` is differentiable, with respect to `x_BTD` and `head_VD`.

  Args:
    x_BTD: final hidden states, in the dtype of matmul inputs.
    head_VD: the output embedding as stored; its gradient is summed in float32.
    transform: elementwise, from raw float32 logits to those of the model.
    chunks: number of chunks of each device's time; None: as LOGITS_BYTES requires.
    rules: where axes live on a mesh (`ShardingRules`); None: on one device.
    skips: leave out the logits of tokens without weight, as far as chunks allow: worth
      it where many are.
    options: `label_smoothing`, `z_loss`, `vocab_limit` of `losses.cross_entropy`.
  """
  shards_BTV = num_shards(rules)
  if skips:
    x_BTD, targets_BT, weights_BT = targets_first(
      x_BTD, targets_BT, weights_BT, rules, shards_BTV[:2]
    )
  rows, time = targets_BT.shape
  # Few tokens of a wide model: the gradients of all their logits, in the dtype of
  # `x_BTD`, are smaller than one float32 gradient of the embedding.
  tokens = rows * time // math.prod(shards_BTV[:2])
  keeps = not skips and tokens * x_BTD.dtype.itemsize <= 4 * x_BTD.shape[-1]
  if chunks is None:
    size = logits_bytes((rows, time, len(head_VD)), shards_BTV)
    # Chunks cost nothing where gradients are kept; small ones leave out more.
    most = LOGITS_BYTES // 2 if keeps or skips else LOGITS_BYTES
    chunks = _num_chunks(time // shards_BTV[1], -(-size // most))

  def loss(logits_BTV, targets_BT, weights_BT):
    return losses.cross_entropy(
      transform(logits_BTV), targets_BT, weights_BT, **options
    )

  plan = _Plan(loss, chunks, keeps, skips, rules, shards_BTV[:2], head_VD.dtype)
  with jax.named_scope('fused_loss'):
    return _sums(plan, x_BTD, head_VD, targets_BT, weights_BT)


def num_shards(rules):
  """Returns over how many devices batch, time and vocabulary are sharded."""
  if rules is None:
    return 1, 1, 1
  return tuple(map(rules.num_shards, ('batch', 'time', 'act_vocab')))


def _num_chunks(time, needed):
  """Returns how many chunks, `needed` or up to twice as many to avoid padding."""
  divisors = (n for n in range(needed, min(2 * needed, time + 1)) if time % n == 0)
  return next(divisors, needed)


@dataclasses.dataclass(frozen=True)
class _Plan:
  """The static part: the loss of a chunk's logits, and where tokens are."""

  loss: Callable
  chunks: int
  keeps_gradients: bool
  """Of all logits, for one matmul at the end; else each chunk adds to `d_head`."""
  skips: bool
  rules: ShardingRules | None
  devices_PS: tuple[int, int]
  head_dtype: jnp.dtype

  def shard(self, x, *names):
    return x if self.rules is None else self.rules.constrain(x, *names)

  def split(self, a_BT):
    """Returns [B, T, ...] as [chunk, P, S, B / P, T / S / chunks, ...]."""
    rows, time, *rest = a_BT.shape
    P, S = self.devices_PS
    a = a_BT.reshape(P, rows // P, S, time // S, *rest)
    padding = -(time // S) % self.chunks  # has weight 0, as all that is added here
    a = jnp.pad(a, [(0, padding if axis == 3 else 0) for axis in range(a.ndim)])
    a = a.reshape(P, rows // P, S, self.chunks, -1, *rest)
    a = a.transpose(3, 0, 2, 1, 4, *range(5, a.ndim))
    return self.shard(a, None, 'batch', 'time', *[None] * (a.ndim - 3))

  def merge(self, a, shape_BTD):
    """Inverts `split`."""
    rows, time, width = shape_BTD
    P, S = self.devices_PS
    a = a.transpose(1, 3, 2, 0, 4, 5).reshape(P, rows // P, S, -1, width)
    a = a[:, :, :, : time // S].reshape(shape_BTD)
    return self.shard(a, 'batch', 'time', 'act_embed')

  def gather(self, head_VD, dtype):
    """Returns the embedding in `dtype`, each row complete on every device."""
    # Rounded while still sharded, so that half the bytes travel.
    head_VD = self.shard(head_VD.astype(dtype), 'vocab', 'embed')
    return self.shard(head_VD, 'act_vocab', None)

  def reduce(self, d_head_PSVD, dtype):
    """Returns the sum over all devices, sharded as the embedding is stored."""
    # Reduced in `dtype`, as the gradients of all weights are.
    parts_PVD = d_head_PSVD.sum(1).astype(dtype)
    return sum_over_batch(self.rules, parts_PVD, ('vocab', 'embed'))

  def chunks_of(self, x_BTD, targets_BT, weights_BT):
    """Returns the three by chunk, and which chunks bear loss, bool [chunk] or None."""
    x, targets, weights = map(self.split, (x_BTD, targets_BT, weights_BT))
    # For all devices the same, as those that share a vocabulary wait for each other;
    # found for all chunks at once, so that nobody waits inside.
    bears_C = (weights != 0).any(range(1, weights.ndim)) if self.skips else None
    return (x, targets, weights), bears_C

  def if_needed(self, bears, function, otherwise):
    """Returns `function()`, or `otherwise()` of a chunk that bears no loss."""
    return jax.lax.cond(bears, function, otherwise) if self.skips else function()

  def zero_sums(self):
    zeros_PS = self.shard(jnp.zeros(self.devices_PS, jnp.float32), 'batch', 'time')
    return losses.LossSums(
      zeros_PS, zeros_PS, dict.fromkeys(losses.TOKEN_METRICS, zeros_PS)
    )

  def on_each_device(self, function, gathered_VD, chunk):
    """Returns `function(loss, gathered_VD, *chunk)`, mapped over P and S."""
    mapped = functools.partial(function, self.loss)
    for _ in self.devices_PS:
      mapped = jax.vmap(mapped, in_axes=(None, 0, 0, 0))
    return mapped(gathered_VD, *chunk)


def _chunk_sums(loss, gathered_VD, x_BTD, targets_BT, weights_BT):
  logits_BTV = einsum('BTD,VD->BTV', x_BTD, gathered_VD, jnp.float32)
  return loss(logits_BTV, targets_BT, weights_BT)


def _chunk_gradients(loss, gathered_VD, x_BTD, targets_BT, weights_BT):
  """Returns (sums, dx_BTD, d_logits_BTV) of one device's tokens of a chunk."""

  def objective(logits_BTV):
    sums = loss(logits_BTV, targets_BT, weights_BT)
    return sums.objective_sum, sums

  logits_BTV = einsum('BTD,VD->BTV', x_BTD, gathered_VD, jnp.float32)
  d_logits_BTV, sums = jax.grad(objective, has_aux=True)(logits_BTV)
  d_logits_BTV = d_logits_BTV.astype(x_BTD.dtype)
  dx_BTD = einsum('BTV,VD->BTD', d_logits_BTV, gathered_VD)
  return sums, dx_BTD, d_logits_BTV


def _zeros_like(function):
  """Returns a function that returns zeros of what `function` returns."""

  def zeros():
    shapes = jax.eval_shape(function)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  return zeros


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sums(plan, x_BTD, head_VD, targets_BT, weights_BT):
  gathered_VD = plan.gather(head_VD, x_BTD.dtype)

  def add(total, chunk_and_bears):
    chunk, bears = chunk_and_bears

    def more():
      sums = plan.on_each_device(_chunk_sums, gathered_VD, chunk)
      return jax.tree.map(jnp.add, total, sums)

    return plan.if_needed(bears, more, lambda: total), None

  chunks = plan.chunks_of(x_BTD, targets_BT, weights_BT)
  total, _ = jax.lax.scan(add, plan.zero_sums(), chunks)
  return jax.tree.map(jnp.sum, total)


def _sums_and_gradients(plan, x_BTD, head_VD, targets_BT, weights_BT):
  gathered_VD = plan.gather(head_VD, x_BTD.dtype)

  def part(d_logits, x):
    """Returns each device's part of the head's gradient, from one chunk or all."""
    letters = 'CPSBT'[-(d_logits.ndim - 1) :]
    equation = f'{letters}V,{letters}D->PSVD'
    part_PSVD = contract(equation, d_logits, x, jnp.float32)
    return plan.shard(part_PSVD, 'batch', 'time', 'act_vocab', None)

  def add(carry, chunk_and_bears):
    total, d_head_PSVD = carry
    chunk, bears = chunk_and_bears

    def gradients():
      return plan.on_each_device(_chunk_gradients, gathered_VD, chunk)

    sums, dx, d_logits = plan.if_needed(bears, gradients, _zeros_like(gradients))
    total = jax.tree.map(jnp.add, total, sums)
    if plan.keeps_gradients:
      return (total, None), (dx, d_logits)
    # By itself, so that XLA drops it where the head is frozen.
    d_head_PSVD = plan.if_needed(
      bears, lambda: d_head_PSVD + part(d_logits, chunk[0]), lambda: d_head_PSVD
    )
    return (total, d_head_PSVD), (dx, None)

  chunks = plan.chunks_of(x_BTD, targets_BT, weights_BT)
  zeros_PSVD = None
  if not plan.keeps_gradients:
    zeros_PSVD = jnp.zeros((*plan.devices_PS, *head_VD.shape), jnp.float32)
    zeros_PSVD = plan.shard(zeros_PSVD, 'batch', 'time', 'act_vocab', None)
  start = plan.zero_sums(), zeros_PSVD
  (total, d_head_PSVD), (dx, d_logits) = jax.lax.scan(add, start, chunks)
  if plan.keeps_gradients:
    d_head_PSVD = part(d_logits, chunks[0][0])
  gradients = plan.merge(dx, x_BTD.shape), plan.reduce(d_head_PSVD, x_BTD.dtype)
  return jax.tree.map(jnp.sum, total), gradients


def _scale(plan, gradients, cotangents):
  dx_BTD, d_head_VD = (cotangents.objective_sum * g for g in gradients)
  dx_dtype = gradients[0].dtype
  return dx_BTD.astype(dx_dtype), d_head_VD.astype(plan.head_dtype), None, None


_sums.defvjp(_sums_and_gradients, _scale)
