"""Attention as pure functions: masks, positions, cache, and one file per kernel.

A kernel is `attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap, dropout) ->
out_BHTK`. It does exactly what is asked or raises ConfigError saying what it cannot do.
"""

import jax

from gpt_jax.attention import dense, fused
from gpt_jax.registry import lookup

KERNELS = {'dense': dense.attend, 'fused': fused.attend}


def choose_kernel(name, *, softcap=0.0, dropout=0.0, position='rope'):
  """Returns `(resolved name, attend)`; `'auto'` is decided here, once, for good.

  Auto takes the fused kernel on GPUs for models it can do, the dense one elsewhere.
  """
  if name == 'auto':
    can_fuse = not softcap and not dropout and position != 'alibi'
    name = 'fused' if jax.default_backend() == 'gpu' and can_fuse else 'dense'
  return name, lookup(KERNELS, name, 'attention.kernel')
