"""Where a token stands: rotary, sinusoidal and ALiBi encodings of positions."""

import math

import jax.numpy as jnp


def rotate(x_BHTK, angles_BTK2):
  """Returns `x_BHTK` with the pair (i, i + K/2) of each head turned by `angles_BTK2`.

  Computed in float32; the output keeps the dtype of `x_BHTK`. RoFormer,
  arXiv:2104.09864, eq. 34, in the half-split order that Llama checkpoints use.
  """
  cos_BHTK2 = jnp.cos(angles_BTK2)[:, None]
  sin_BHTK2 = jnp.sin(angles_BTK2)[:, None]
  first, second = jnp.split(x_BHTK.astype(jnp.float32), 2, axis=-1)
  turned = (
    first * cos_BHTK2 - second * sin_BHTK2,
    second * cos_BHTK2 + first * sin_BHTK2,
  )
  return jnp.concatenate(turned, axis=-1).astype(x_BHTK.dtype)


def rope_angles(
  positions_BT, head_dim, *, theta, scaling='none', factor=1.0, original_len
):
  """Returns each position and pair's rotation, float32 [B, T, K / 2] in radians.

  Args:
    scaling: 'none'; 'linear' divides positions by `factor` (arXiv:2306.15595); 'ntk'
      stretches theta instead; 'llama3' divides only frequencies whose wavelength is
      long against `original_len` (Llama 3.1's published rule, factors 1 and 4).
  """
  frequency_K2 = _frequencies(head_dim, theta)
  if scaling == 'linear':
    frequency_K2 = frequency_K2 / factor
  elif scaling == 'ntk':
    frequency_K2 = _frequencies(head_dim, theta * factor ** (head_dim / (head_dim - 2)))
  elif scaling == 'llama3':
    turns_K2 = original_len * frequency_K2 / (2 * math.pi)
    # 0 where a wave turns less than once in original_len, 1 where more than 4 times.
    keep_K2 = jnp.clip((turns_K2 - 1) / (4 - 1), 0, 1)
    frequency_K2 = frequency_K2 * (keep_K2 + (1 - keep_K2) / factor)
  return positions_BT[..., None].astype(jnp.float32) * frequency_K2


def sinusoids(positions_BT, d_model):
  """Returns a sine half, then a cosine half, float32 [B, T, D]. arXiv:1706.03762."""
  frequency_D2 = _frequencies(d_model, 10_000.0)
  angles_BTD2 = positions_BT[..., None].astype(jnp.float32) * frequency_D2
  return jnp.concatenate([jnp.sin(angles_BTD2), jnp.cos(angles_BTD2)], axis=-1)


def alibi_slopes(num_heads):
  """Returns ALiBi's slope per head, float32 [H]. arXiv:2108.12409, section 3.

  For a number of heads that is no power of two, the slopes of the power below are
  followed by every second slope of the power above, as the authors' code does.
  """
  below = 2 ** math.floor(math.log2(num_heads))
  slopes = [2 ** (-8 * (i + 1) / below) for i in range(below)]
  above = [2 ** (-8 * (i + 1) / (2 * below)) for i in range(0, 2 * below, 2)]
  return jnp.asarray(slopes + above[: num_heads - below], jnp.float32)


def _frequencies(dim, theta):
  return theta ** (-jnp.arange(0, dim, 2, dtype=jnp.float32) / dim)
