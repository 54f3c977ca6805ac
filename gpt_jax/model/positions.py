"""Position encodings: learned, sinusoidal, rotary (RoPE) and ALiBi.

A new one is an entry in POSITIONS. It says all there is to know about it: nothing else
asks for an encoding by its name.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.sections import NoOptions
from gpt_jax.model.layers import Embed


class Angles(NamedTuple):
  """What `Position.angles` returns, for layers that see all and for local ones."""

  everywhere: Any
  local: Any


@dataclasses.dataclass(frozen=True)
class Position:
  """Where an encoding enters the model; None: not there."""

  # (cfg, positions_BT) -> [B, T, D], added to the token embeddings. Parameters of its
  # own are in modules named `position`.
  embed: Callable | None = None
  # (cfg, positions_BT) -> what `rotate` reads, computed once for all layers
  angles: Callable | None = None
  # (x_BHTK, angles) -> x_BHTK, applied to queries and keys
  rotate: Callable | None = None
  # (cfg) -> [H]; scores lose slope times distance
  slopes: Callable | None = None
  # whether there are positions below `max_seq_len` only
  ends_at_max_seq_len: bool = False
  # the section and the rules of an encoding with config fields; see `registry.entry`
  options: type = NoOptions
  problems: Callable | None = None


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

  Fewer angles than pairs rotate the first dimensions of a head, paired among them.
  RoFormer, arXiv:2104.09864, eq. 34, in the half-split order of Llama checkpoints.
  """
  rotated_dims = 2 * angles_BTK2.shape[-1]
  x_BHTK, rest = x_BHTK[..., :rotated_dims], x_BHTK[..., rotated_dims:]
  cos_BHTK2 = jnp.cos(angles_BTK2)[:, None]
  sin_BHTK2 = jnp.sin(angles_BTK2)[:, None]
  first, second = jnp.split(x_BHTK.astype(jnp.float32), 2, axis=-1)
  rotated = (
    first * cos_BHTK2 - second * sin_BHTK2,
    second * cos_BHTK2 + first * sin_BHTK2,
  )
  rotated_BHTK = jnp.concatenate(rotated, axis=-1).astype(x_BHTK.dtype)
  return jnp.concatenate([rotated_BHTK, rest], axis=-1) if rest.size else rotated_BHTK


def rope_angles(cfg, positions_BT):
  """Returns the angle of each position and pair, float32 [B, T, K / 2] in radians.

  K is the part of a head that `rope_fraction` lets rotate.
  """
  K, theta, factor = rotated_dims(cfg), cfg.rope_theta, cfg.rope_factor
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


def rotated_dims(cfg):
  """Returns how many dimensions of a head RoPE rotates."""
  return int(cfg.head_dim * cfg.rope_fraction)


def angles_of_layers(cfg, positions_BT):
  """Returns the Angles of a ModelConfig; None where its encoding rotates nothing."""
  angles = lookup(cfg).angles
  if angles is None:
    return None
  everywhere = local = angles(cfg, positions_BT)
  if cfg.rope_local_theta is not None:  # Gemma 3, arXiv:2503.19786, section 2.1
    cfg = dataclasses.replace(cfg, rope_theta=cfg.rope_local_theta, rope_scaling='none')
    local = angles(cfg, positions_BT)
  return Angles(everywhere, local)


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


def _rope_problems(config):
  model = config.model
  head_dim = model.head_dim or model.d_model // model.num_heads
  if head_dim % 2:
    yield Problem(
      'model.position', f'="rope": expected an even model.head_dim, not {head_dim}'
    )
    return
  rotated = int(head_dim * model.rope_fraction)
  if rotated % 2 or not rotated:
    yield Problem(
      'model.rope_fraction',
      f'={model.rope_fraction}: rotates {rotated} of head_dim={head_dim}; expected a'
      ' share that makes an even number of dimensions, at least 2',
    )
  if model.rope_scaling == 'ntk' and rotated < 4:
    yield Problem(
      'model.rope_scaling',
      f'="ntk": stretches all pairs but the first, and head_dim={head_dim} has one;'
      ' set model.head_dim to 4 or more',
    )


def _sinusoid_problems(config):
  if config.model.d_model % 2:
    yield Problem(
      'model.position',
      f'="sinusoidal": needs an even model.d_model, not {config.model.d_model}',
    )


POSITIONS = {
  'learned': Position(embed=learned, ends_at_max_seq_len=True),
  'sinusoidal': Position(embed=sinusoids, problems=_sinusoid_problems),
  'rope': Position(angles=rope_angles, rotate=rotate, problems=_rope_problems),
  'alibi': Position(slopes=alibi_slopes),
  'none': Position(),
}


def lookup(cfg) -> Position:
  """Returns the encoding of a ModelConfig; ConfigError where it names none."""
  found = registry.lookup(POSITIONS, cfg.position, 'model.position')
  if not isinstance(found, Position):
    raise ConfigError(
      f'model.position={cfg.position!r}: a {type(found).__name__}; expected a Position'
      ' (gpt_jax/model/positions.py).'
    )
  return found


def has_slopes(cfg):
  """Returns whether a ModelConfig's encoding is a bias on scores, as ALiBi."""
  return lookup(cfg).slopes is not None


def describe_end(cfg, taken=0):
  """Returns in words where positions end that do; virtual tokens have `taken` some."""
  limit = cfg.max_seq_len
  text = f'{cfg.position} positions end at model.max_seq_len={limit}'
  if not taken:
    return text
  left = max(limit - taken, 0)
  return f'{text}, of which {taken} virtual tokens take the first, and {left} are left'


def max_positions(cfg):
  """Returns how many positions a ModelConfig's encoding has, None for any number."""
  return cfg.max_seq_len if lookup(cfg).ends_at_max_seq_len else None


def problems(config):
  """Yields the Problems of a Config's rotary fields with an encoding without angles."""
  model = config.model
  if model.rope_scaling != 'none' and lookup(model).angles is None:
    yield Problem(
      'model.rope_scaling',
      f'={model.rope_scaling!r}: needs model.position="rope", not {model.position!r}',
    )
  if model.rope_local_theta is not None and lookup(model).angles is None:
    yield Problem(
      'model.rope_local_theta',
      f'={model.rope_local_theta}: needs model.position="rope", not'
      f' {model.position!r}; set it to None',
    )
