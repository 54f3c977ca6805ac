"""Ring Attention (arXiv:2310.01889): time is sharded, keys and values go round.

Each device works on one shard of keys at a time, while its neighbour sends the next.
The backward pass sends keys and values again, their float32 gradients one step behind.
Under a causal mask chunks are redistributed inside the kernel (`ring_schedule`).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from gpt_jax.attention import blockwise, online_softmax, ring_schedule
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import sum_dtype
from gpt_jax.parallel.sharding import ShardingRules, activation_axes

QUERIES, KEYS = activation_axes('BHTK'), activation_axes('BGTK')
MASK = {  # the logical axes of each array of a Mask
  'prefix_B': ('batch',),
  'query_start_B': ('batch',),
  # Replicated in time: one integer a token, beside hundreds in keys and values.
  'segments_BT': ('batch', None),
  'segments_BS': ('batch', None),
  'slopes_H': ('act_heads',),
}


def attend(
  q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None, rules=None,
  block=None,
):  # fmt: skip
  """Returns what `blockwise.attend` does, and calls it where time is not sharded.

  Raises ConfigError for dropout, and for sizes that do not divide over the mesh.
  """
  if dropout is not None:
    raise ConfigError(
      'model.attention_dropout: the ring kernel cannot do it; use'
      ' attention.kernel="dense".'
    )
  T, S = q_BHTK.shape[2], k_BGSK.shape[2]
  if rules is None or rules.num_shards('time') == 1 or T == 1:
    return blockwise.attend(
      q_BHTK, k_BGSK, v_BGSK, mask, scale=scale, softcap=softcap, block=block
    )
  if mask.num_virtual:
    raise ConfigError(
      'peft.name: the ring kernel has no virtual keys; use attention.kernel="dense".'
    )
  _check(rules, q_BHTK.shape, k_BGSK.shape)
  D = rules.num_shards('time')
  sizes = tuple(
    _divisor(length // (2 * D), block or online_softmax.block_size(length), length)
    for length in (T, S)
  )
  ring = Ring(rules, ring_schedule.make_schedule(mask, D, T, S, sizes), softcap)
  # Scaled in float32, as the dense kernel does and for its reason.
  q_BHTK = (q_BHTK.astype(sum_dtype(q_BHTK)) * scale).astype(q_BHTK.dtype)
  return _attend(ring, q_BHTK, k_BGSK, v_BGSK, mask)


def _check(rules, shape_BHTK, shape_BGSK):
  heads, kv_heads = map(rules.mesh_axes.get, ('act_heads', 'act_kv_heads'))
  if heads != kv_heads:
    raise ConfigError(
      f'parallel.overrides: act_heads={heads!r} and act_kv_heads={kv_heads!r}, but the'
      ' ring kernel needs the heads of queries and keys on the same devices; give both'
      ' the same axis, or use attention.kernel="dense".'
    )
  for array, shape, names in (
    ('attention: queries', shape_BHTK, QUERIES),
    ('attention: keys', shape_BGSK, KEYS),
  ):
    check_length(shape[2], rules)
    rules.check(array, shape, names)


def check_length(length, rules, field='data.seq_len'):
  """Raises ConfigError for rows that do not divide over the devices of `rules`."""
  devices = rules.num_shards('time')
  if devices > 1 and length % (2 * devices):
    raise ConfigError(
      f'{field}={length}: the ring kernel splits rows into {2 * devices} chunks,'
      f' two for each device along {rules.mesh_axes["time"]!r}, and they do not divide;'
      f' try {-(-length // (2 * devices)) * 2 * devices}, change parallel.mesh, or use'
      ' attention.kernel="dense".'
    )


def _divisor(chunk, block, length):
  """Returns the largest block of at most `block` tokens that divides `chunk`."""
  size = max(size for size in range(1, min(block, chunk) + 1) if chunk % size == 0)
  if size < min(block, chunk) / 8:
    raise ConfigError(
      f'data.seq_len={length}: its chunks of {chunk} tokens divide only into blocks of'
      f' {size}, with which the ring kernel is slow; use a multiple of'
      f' {length // chunk * 64}.'
    )
  return size


@dataclasses.dataclass(frozen=True, eq=False)
class Ring:
  """One attention's devices and schedule: all that is known while tracing."""

  rules: ShardingRules
  schedule: ring_schedule.Schedule
  softcap: float

  @property
  def axis(self) -> Any:
    return self.rules.mesh_axes['time']

  @property
  def tiles(self):
    return online_softmax.Tiles(*self.schedule.sizes, self.softcap)

  def shard_map(self, function, arrays, mask, out_names):
    """Returns `function(self, *shards, mask)` of all devices; arrays come with axes."""
    mask_specs = {
      name: self._mask_spec(getattr(mask, name), names)
      for name, names in MASK.items()
      if getattr(mask, name) is not None
    }
    specs = [self.rules.spec(names) for _, names in arrays]
    run = jax.shard_map(
      functools.partial(function, self),
      mesh=self.rules.mesh,
      in_specs=(*specs, dataclasses.replace(mask, **mask_specs)),
      out_specs=tuple(self.rules.spec(names) for names in out_names),
      # Along mesh axes that shard no operand all devices compute the same; the check
      # would want every constant marked as varying along the others.
      check_vma=False,
    )
    return run(*(array for array, _ in arrays), mask)

  def _mask_spec(self, array, names):
    # An array of one row holds for all rows.
    is_one = names[0] == 'batch' and array.shape[0] == 1
    return PartitionSpec() if is_one else self.rules.spec(names)

  def pass_on(self, arrays, by=1):
    """Returns what the device `by` places before this one has sent of `arrays`."""
    D = self.schedule.queries.num_devices
    if by % D == 0:
      return arrays
    return jax.lax.ppermute(arrays, self.axis, [(i, (i + by) % D) for i in range(D)])

  def pairs(self, stage, i):
    """Returns this device's pairs for `online_softmax` at step `i` of a stage."""
    schedule, device = self.schedule, jax.lax.axis_index(self.axis)
    row = jnp.asarray(stage.pattern_RD)[i, device]
    t, s = jnp.asarray(stage.patterns_PN2)[row].T
    # At step r the keys are those of the device r places before.
    owner = (device - stage.first - i) % schedule.keys.num_devices
    return t, s, schedule.queries.index(device, t), schedule.keys.index(owner, s)

  def run_steps(self, carry, step):
    """Returns `carry` after all steps: `step(carry, pairs, is_first, is_last)`."""
    for stage in self.schedule.stages():
      is_first = stage.first == 0
      is_last = stage.first + stage.num_steps == self.schedule.num_steps
      if stage.num_steps == 1:
        carry = step(carry, self.pairs(stage, 0), is_first, is_last)
      else:
        assert not is_first and not is_last, stage

        def body(carry, i, stage=stage):
          return step(carry, self.pairs(stage, i), False, False), None

        carry, _ = jax.lax.scan(body, carry, jnp.arange(stage.num_steps))
    return carry

  def redistribute(self, arrays, axis, back=False):
    """Returns shards in the order of the schedule, or `back` in that of the row."""
    # A shard's two chunks are adjacent along `axis`. One has an even index in the row,
    # one an odd one, in both orders: each device sends and receives one of each.
    shards = self.schedule.queries
    if not shards.zigzag:
      return arrays
    is_even = jax.lax.axis_index(self.axis) % 2 == 0

    def cross(pair):  # (early, late) to (even, odd) and back
      first, second = pair
      return jnp.where(is_even, first, second), jnp.where(is_even, second, first)

    def send(x, parity):
      moves = [(i, shards.owner(2 * i + parity)) for i in range(shards.num_devices)]
      moves = [(there, here) for here, there in moves] if back else moves
      return jax.lax.ppermute(x, self.axis, moves)

    def move(x):
      pair = jnp.split(x, 2, axis)
      pair = cross(pair) if back else pair
      pair = [send(chunk, parity) for parity, chunk in enumerate(pair)]
      return jnp.concatenate(pair if back else cross(pair), axis)

    return jax.tree.map(move, arrays)


def _output(ring, q_BHTK, k_BGSK, v_BGSK, mask) -> jax.Array:
  return _forward(ring, q_BHTK, k_BGSK, v_BGSK, mask)[0]


def _forward(ring, q_BHTK, k_BGSK, v_BGSK, mask):
  arrays = [(q_BHTK, QUERIES), (k_BGSK, KEYS), (v_BGSK, KEYS)]
  out_names = (QUERIES, QUERIES[:3])
  out_BHTK, lse_BHT = ring.shard_map(_forward_shard, arrays, mask, out_names)
  # A remat policy that saves both spares the second forward pass.
  out_BHTK = checkpoint_name(out_BHTK, 'attended')
  lse_BHT = checkpoint_name(lse_BHT, 'attended')
  return out_BHTK, (q_BHTK, k_BGSK, v_BGSK, mask, out_BHTK, lse_BHT)


def _forward_shard(ring, q_BHTK, k_BGSK, v_BGSK, mask):
  """Returns the output in the row's order, log-sum-exps in that of the schedule."""
  q_BHTK, k_BGSK, v_BGSK = ring.redistribute((q_BHTK, k_BGSK, v_BGSK), 2)
  q_BGRTK = _grouped(q_BHTK, k_BGSK)

  def step(carry, pairs, is_first, is_last):
    del is_first
    state, k_BGSK, v_BGSK = carry
    # Sent before the matmuls, which do not need it: both run at once.
    following = (k_BGSK, v_BGSK) if is_last else ring.pass_on((k_BGSK, v_BGSK))
    state = online_softmax.update(
      ring.tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, pairs
    )
    return state, *following

  carry = (online_softmax.init(q_BGRTK), k_BGSK, v_BGSK)
  state, _, _ = ring.run_steps(carry, step)
  out_BGRTK, lse_BGRT = online_softmax.finalize(state, q_BHTK.dtype)
  out_BHTK = ring.redistribute(out_BGRTK.reshape(q_BHTK.shape), 2, back=True)
  return out_BHTK, lse_BGRT.reshape(q_BHTK.shape[:3])


def _backward(ring, saved, d_out_BHTK):
  q_BHTK, k_BGSK, v_BGSK, mask, out_BHTK, lse_BHT = saved
  arrays = [
    (q_BHTK, QUERIES), (k_BGSK, KEYS), (v_BGSK, KEYS), (lse_BHT, QUERIES[:3]),
    (online_softmax.delta(out_BHTK, d_out_BHTK), QUERIES[:3]), (d_out_BHTK, QUERIES),
  ]  # fmt: skip
  grads = ring.shard_map(_backward_shard, arrays, mask, (QUERIES, KEYS, KEYS))
  return *grads, None


def _backward_shard(ring, q_BHTK, k_BGSK, v_BGSK, lse_BHT, delta_BHT, d_out_BHTK, mask):
  """Returns the gradients of queries, keys and values in the row's order."""
  lse_BGRT = _grouped(lse_BHT, k_BGSK)
  *of_queries, k_BGSK, v_BGSK = ring.redistribute(
    (q_BHTK, delta_BHT, d_out_BHTK, k_BGSK, v_BGSK), 2
  )
  q_BGRTK, delta_BGRT, d_out_BGRTK = (_grouped(x, k_BGSK) for x in of_queries)
  dtype = sum_dtype(q_BHTK)
  zeros = (jnp.zeros_like(k_BGSK, dtype), jnp.zeros_like(v_BGSK, dtype))

  def step(carry, pairs, is_first, is_last):
    dq_BGRTK, k_BGSK, v_BGSK, grads = carry
    following = (k_BGSK, v_BGSK) if is_last else ring.pass_on((k_BGSK, v_BGSK))
    # Gradients follow their keys one step behind: the sum so far is added after the
    # matmuls, so that it travels beside them too.
    so_far = grads if is_first else ring.pass_on(grads)
    dq_BGRTK, *more = online_softmax.add_gradients(
      ring.tiles, (dq_BGRTK, *zeros), q_BGRTK, k_BGSK, v_BGSK, mask, lse_BGRT,
      delta_BGRT, d_out_BGRTK, pairs,
    )  # fmt: skip
    grads = tuple(a + b for a, b in zip(so_far, more, strict=True))
    return dq_BGRTK, *following, grads

  carry = (jnp.zeros_like(q_BGRTK, dtype), k_BGSK, v_BGSK, zeros)
  dq_BGRTK, _, _, grads = ring.run_steps(carry, step)
  # Complete: returned to the owners of the keys in the keys' dtype.
  grads = tuple(grad.astype(k_BGSK.dtype) for grad in grads)
  grads = ring.pass_on(grads, by=1 - ring.schedule.num_steps)
  dq_BHTK = dq_BGRTK.reshape(q_BHTK.shape).astype(q_BHTK.dtype)
  return tuple(ring.redistribute((dq_BHTK, *grads), 2, back=True))


def _grouped(x_BHT, k_BGSK):
  # Heads as [G, R]: K and V are not repeated for R = H / G query heads.
  B, H, *rest = x_BHT.shape
  G = k_BGSK.shape[1]
  return x_BHT.reshape(B, G, H // G, *rest)


_attend = jax.custom_vjp(_output, nondiff_argnums=(0,))
_attend.defvjp(_forward, _backward)
