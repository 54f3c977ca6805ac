"""Position encodings: learned, sinusoidal, rotary (RoPE) and ALiBi.

A new one is an entry in POSITIONS and its name in `ModelConfig.position`.
"""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp

from gpt_jax.model.layers import Embed


@dataclasses.dataclass(frozen=True)
class Position:
  """Where an encoding enters the model; None: not there."""

  # (cfg, positions_BT) -> [B, T, D], added to the token embeddings
  embed: Callable | None = None
  # (cfg, positions_BT) -> what `rotate` reads, computed once for all layers
  angles: Callable | None = None
  # (x_BHTK, angles) -> x_BHTK, applied to queries and keys
  rotate: Callable | None = None
  # (cfg) -> [H]; scores lose slope times distance
  slopes: Callable | None = None


def learned(cfg, positions_BT):
  """Returns rows of a learned embedding of `max_seq_len` positions, [B, T, D]."""
  return Embed(cfg, cfg.max_seq_len, 'position', name='position')(positions_BT)


def sinusoids(cfg, positions_BT):
  """Returns a sine half, then a cosine half, float32 [B, T, D]. arXiv:1706.03762."""
  frequency_D2 = _frequencies(cfg.d_model, 10_000.0)
  angles_BTD2 = positions_BT[..., None].astype(jnp.float32) * frequency_D2
  return jnp.concatenate([jnp.sin(angles_BTD2), jnp.cos(angles_BTD2)], axis=-1)


def rotate(x_BHTK, angles_BTK2):
  """Returns `x_BHTK` with the pair (i, i + K/2) of each head rotated by `angles_BTK2`.

  RoFormer, arXiv:2104.09864, eq. 34, in the half-split order of Llama checkpoints.
  """
  cos_BHTK2 = jnp.cos(angles_BTK2)[:, None]
  sin_BHTK2 = jnp.sin(angles_BTK2)[:, None]
  first, second = jnp.split(x_BHTK.astype(jnp.float32), 2, axis=-1)
  rotated = (
    first * cos_BHTK2 - second * sin_BHTK2,
    second * cos_BHTK2 + first * sin_BHTK2,
  )
  return jnp.concatenate(rotated, axis=-1).astype(x_BHTK.dtype)


def rope_angles(cfg, positions_BT):
  """Returns the angle of each position and pair, float32 [B, T, K / 2] in radians."""
  K, theta, factor = cfg.head_dim, cfg.rope_theta, cfg.rope_factor
  frequency_K2 = _frequencies(K, theta)
  if cfg.rope_scaling == 'linear':  # arXiv:2306.15595
    frequency_K2 = frequency_K2 / factor
  elif cfg.rope_scaling == 'ntk':
    frequency_K2 = _frequencies(K, theta * factor ** (K / (K - 2)))
  elif cfg.rope_scaling == 'llama3':
    periods_K2 = cfg.rope_original_len * frequency_K2 / (2 * math.pi)
    # Llama 3.1's rule stretches only long wavelengths. 0 below one period in the
    # original length, 1 above four.
    keep_K2 = jnp.clip((periods_K2 - 1) / (4 - 1), 0, 1)
    frequency_K2 = frequency_K2 * (keep_K2 + (1 - keep_K2) / factor)
  return positions_BT[..., None].astype(jnp.float32) * frequency_K2


def alibi_slopes(cfg):
  """Returns ALiBi's slope per head, float32 [H]. arXiv:2108.12409, section 3."""
  # As in the authors' code: where H is no power of two, the slopes of the power below
  # are followed by every second slope of the power above.
  below = 2 ** math.floor(math.log2(cfg.num_heads))
  slopes = [2 ** (-8 * (i + 1) / below) for i in range(below)]
  above = [2 ** (-8 * (i + 1) / (2 * below)) for i in range(0, 2 * below, 2)]
  return jnp.asarray(slopes + above[: cfg.num_heads - below], jnp.float32)


def _frequencies(dim, theta):
  return theta ** (-jnp.arange(0, dim, 2, dtype=jnp.float32) / dim)


POSITIONS = {
  'learned': Position(embed=learned),
  'sinusoidal': Position(embed=sinusoids),
  'rope': Position(angles=rope_angles, rotate=rotate),
  'alibi': Position(slopes=alibi_slopes),
  'none': Position(),
}
