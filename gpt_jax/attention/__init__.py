"""Attention as pure functions: masks, positions, cache, and one file per kernel.

A kernel is `attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap, dropout) ->
out_BHTK`. It does exactly what is asked or raises ConfigError saying what it cannot do.
"""

import jax

from gpt_jax.attention import blockwise, dense, fused
from gpt_jax.registry import lookup

KERNELS = {
  'blockwise': blockwise.attend,
  'dense': dense.attend,
  'fused': fused.attend,
}

BLOCKWISE_FROM = 512
"""Tokens from which on blocks pay everywhere, forward and backward together.

Against the dense kernel, 12 heads of 64 in bfloat16 (experiments/LOG.md): on a loaded
CPU 0.52 of the time at 512 tokens, 0.39 at 1024 and 0.21 at 2048; 0.49 of the cycles of
a TPU v5e at 1024. At 256 the two are level within the noise.
"""


def choose_kernel(
  name, *, seq_len, softcap=0.0, dropout=0.0, position='rope', time_shards=1
):
  """Returns `(resolved name, attend)`; `'auto'` is decided here, once, for good.

  Auto takes the fused kernel on GPUs for models it can do; else the blockwise one for
  rows of BLOCKWISE_FROM tokens or more, unless they lie on several devices
  (`time_shards`), where each block would be fetched anew; the dense one for the rest.
  """
  if name == 'auto':
    can_fuse = not softcap and not dropout and position != 'alibi'
    if jax.default_backend() == 'gpu' and can_fuse:
      name = 'fused'
    elif seq_len >= BLOCKWISE_FROM and not dropout and time_shards == 1:
      name = 'blockwise'
    else:
      name = 'dense'
  return name, lookup(KERNELS, name, 'attention.kernel')
