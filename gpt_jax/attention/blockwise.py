"""Attention block by block in plain XLA: linear memory, no work where nothing is seen.

Queries and keys are cut into blocks, and a scan visits the pairs of blocks in which
some query sees some key: about half of them under a causal mask, a band with a window.
The list of pairs is made while tracing, so the program is as small for 16,384 tokens as
for 512 and its FLOPs can be counted. What happens at a pair: `online`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.attention import dense, online_softmax
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import sum_dtype


def attend(
  q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None, block=None
):
  """Returns attention's output as `dense.attend` does; see there for the arguments.

  Args:
    block: tokens in a block of queries or keys, at most; None: `online.block_size`.
  Queries that see no key (padding) give zeros. ALiBi's slopes get no gradient. Raises
  ConfigError for dropout.
  """
  if dropout is not None:
    raise ConfigError(
      'model.attention_dropout: the blockwise kernel cannot do it; use'
      ' attention.kernel="dense".'
    )
  B, H, T, K = q_BHTK.shape
  G, S = k_BGSK.shape[1:3]
  if T == 1:  # a step of decoding: one row of scores, where blocks have nothing to save
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale, softcap=softcap)
  blocks = Blocks(
    T,
    S,
    _even(T, block or online_softmax.block_size(T)),
    _even(S, block or online_softmax.block_size(S)),
  )
  more_T, more_S = -T % blocks.query_size, -S % blocks.key_size
  # Scaled in float32, as the dense kernel does and for its reason.
  q_BHTK = (q_BHTK.astype(sum_dtype(q_BHTK)) * scale).astype(q_BHTK.dtype)
  # Query heads of one group stand side by side (R = H / G): K and V are not repeated.
  out_BGRTK = _attend(
    blocks,
    softcap,
    _pad(q_BHTK.reshape(B, G, H // G, T, K), more_T),
    _pad(k_BGSK, more_S),
    _pad(v_BGSK, more_S),
    mask.pad(more_T, more_S),
  )
  return out_BGRTK[..., :T, :].reshape(B, H, T, K)


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How one attention is cut, in tokens; padding is in the sizes, not in the counts."""

  num_queries: int
  num_keys: int
  query_size: int
  key_size: int

  def tiles(self, softcap):
    """Returns what `online` has to know of every pair."""
    is_padded = self.num_keys % self.key_size  # the last block of keys ends in padding
    num_keys = self.num_keys if is_padded else None
    return online_softmax.Tiles(self.query_size, self.key_size, softcap, num_keys)

  def pairs(self, mask):
    """Returns the first query and first key of each pair to visit, int32 [N, 2].

    A pair is left out when indices alone say that it is hidden (`online.is_seen`).
    """
    first_t = np.arange(0, self.num_queries, self.query_size)[:, None]
    first_s = np.arange(0, self.num_keys, self.key_size)[None]
    last_t = np.minimum(first_t + self.query_size, self.num_queries) - 1
    last_s = np.minimum(first_s + self.key_size, self.num_keys) - 1
    is_seen = online_softmax.is_seen(mask, first_t, last_t, first_s, last_s)
    sizes = (self.query_size, self.key_size)
    return (np.argwhere(is_seen) * sizes).astype(np.int32)


def _even(length, block):
  """Returns the size of equal blocks, as few as `block` tokens in each allow."""
  return -(-length // -(-length // block))


def _pad(x_TK, more):
  widths = [(0, 0)] * (x_TK.ndim - 2) + [(0, more), (0, 0)]
  return jnp.pad(x_TK, widths) if more else x_TK


def _output(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask) -> jax.Array:
  return _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask)[0]


def _forward(blocks, softcap, q_BGRTK, k_BGSK, v_BGSK, mask):
  tiles, state = blocks.tiles(softcap), online_softmax.start(q_BGRTK)
  state = online_softmax.absorb(
    tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, _places(blocks, mask)
  )
  out_BGRTK, log_sum_BGRT = online_softmax.finish(state, q_BGRTK.dtype)
  # Named here: a remat policy that saves both spares the second forward pass.
  out_BGRTK = checkpoint_name(out_BGRTK, 'attended')
  log_sum_BGRT = checkpoint_name(log_sum_BGRT, 'attended')
  return out_BGRTK, (q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, log_sum_BGRT)


def _backward(blocks, softcap, saved, d_out_BGRTK):
  q_BGRTK, k_BGSK, v_BGSK, mask, out_BGRTK, log_sum_BGRT = saved
  inputs = (q_BGRTK, k_BGSK, v_BGSK)
  grads = online_softmax.add_gradients(
    blocks.tiles(softcap),
    tuple(jnp.zeros_like(x, log_sum_BGRT.dtype) for x in inputs),
    *inputs,
    mask,
    log_sum_BGRT,
    online_softmax.shift(out_BGRTK, d_out_BGRTK),
    d_out_BGRTK,
    _places(blocks, mask),
  )
  grads = (grad.astype(x.dtype) for grad, x in zip(grads, inputs, strict=True))
  return *grads, None


_attend = jax.custom_vjp(_output, nondiff_argnums=(0, 1))
_attend.defvjp(_forward, _backward)


def _places(blocks, mask):
  """Returns the pairs as `online` takes them: arrays and mask count alike here."""
  t, s = blocks.pairs(mask).T
  return t, s, t, s
