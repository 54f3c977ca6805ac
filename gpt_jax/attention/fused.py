"""Attention by `jax.nn.dot_product_attention`: cuDNN's flash kernels on NVIDIA GPUs."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.core.errors import ConfigError


def attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None):
  """Returns what `dense.attend` does; raises ConfigError for soft-caps and dropout."""
  if softcap or dropout is not None:
    what = f'attention.softcap={softcap}' if softcap else 'model.attention_dropout'
    raise ConfigError(
      f'{what}: the fused kernel cannot do it; use attention.kernel="dense".'
    )
  T, S = q_BHTK.shape[2], k_BGSK.shape[2]
  plain = (mask.prefix_B, mask.segments_BT, mask.query_start_B, mask.slopes_H)
  rules = {}
  if mask.causal and T == S and all(part is None for part in plain):
    window = mask.window
    rules['is_causal'] = True
    rules['local_window_size'] = None if window is None else (window - 1, 0)
  else:
    # The lowest float32 is -inf in half precision: rows without any key (padding)
    # would become NaN, which no zero afterwards takes out of the gradient.
    lowest = jnp.finfo(q_BHTK.dtype).min
    bias_BHTS = jnp.maximum(mask.dense(T, S), lowest).astype(q_BHTK.dtype)
    shape_BHTS = (q_BHTK.shape[0], q_BHTK.shape[1], T, S)
    rules['bias'] = jnp.broadcast_to(bias_BHTS, shape_BHTS)
  # Elsewhere XLA's own lowering.
  on_gpu = jax.default_backend() == 'gpu' and q_BHTK.dtype != jnp.float32
  out_BTHK = jax.nn.dot_product_attention(
    *(x.swapaxes(1, 2) for x in (q_BHTK, k_BGSK, v_BGSK)),
    scale=scale,
    implementation='cudnn' if on_gpu else 'xla',
    **rules,
  )
  out_BHTK = mask.zero_blind(out_BTHK.swapaxes(1, 2), S)
  return checkpoint_name(out_BHTK, 'attended')
