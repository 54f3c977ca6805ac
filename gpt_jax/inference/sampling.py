"""Chooses the next token: greedy, or drawn by temperature, top-k and nucleus."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How a token is chosen. Hashable, so that each setting is one compiled program."""

  temperature: float = 0.0
  """Divides the logits; 0 takes the likeliest token (of equal ones the lowest id)."""
  top_k: int = 0
  """Only the k likeliest tokens; 0 is off."""
  top_p: float = 1.0
  """Nucleus: only the likeliest tokens with this share of what top_k kept, at least
  one; 1 is off. arXiv:1904.09751, section 3.1."""
  vocab_limit: int | None = None
  """Ids from here on only pad the embedding: never chosen. None: all are real."""

  @classmethod
  def of(cls, cfg):
    """Returns the settings of an InferenceConfig."""
    return cls(temperature=cfg.temperature, top_k=cfg.top_k, top_p=cfg.top_p)

  def __post_init__(self):
    if not 0 <= self.temperature < math.inf:
      raise ConfigError(
        f'temperature={self.temperature}: expected a number from 0 (greedy) up, such as'
        ' 0.8.'
      )
    if not (isinstance(self.top_k, int) and self.top_k >= 0):
      raise ConfigError(
        f'top_k={self.top_k}: expected a whole number of tokens, 0 for all.'
      )
    if not 0 <= self.top_p <= 1:
      raise ConfigError(f'top_p={self.top_p}: expected a share from 0 to 1 (off).')


GREEDY = Sampling()


def sample(logits_BV, rng_B, cfg):
  """Returns one token id per row, int32 [B], drawn with the row's own key."""
  logits_BV = real_logits(logits_BV, cfg.vocab_limit)
  if cfg.temperature == 0:
    return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
  logits_BC, id_BC = candidates(logits_BV, cfg)
  choice_B = jax.vmap(jax.random.categorical)(rng_B, logits_BC)
  return jnp.take_along_axis(id_BC, choice_B[:, None], axis=1)[:, 0]


def real_logits(logits_BV, vocab_limit):
  """Returns `logits_BV` [..., V] with -inf where an id only pads the embedding."""
  if vocab_limit is None or vocab_limit == logits_BV.shape[-1]:
    return logits_BV
  is_real_V = jnp.arange(logits_BV.shape[-1]) < vocab_limit
  return jnp.where(is_real_V, logits_BV, -jnp.inf)


def candidates(logits_BV, cfg):
  """Returns (logits, ids) [B, C] of the tokens to draw from, -inf where excluded."""
  B, V = logits_BV.shape
  # Shifted before the division: a tiny temperature gives -inf, never inf - inf.
  logits_BV = logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True)
  logits_BV = logits_BV / cfg.temperature
  if not cfg.top_k and cfg.top_p == 1:
    id_BV = jnp.broadcast_to(jnp.arange(V, dtype=jnp.int32), (B, V))
    return logits_BV, id_BV
  logits_BC, id_BC = jax.lax.top_k(logits_BV, min(cfg.top_k or V, V))
  if cfg.top_p < 1:
    share_BC = jax.nn.softmax(logits_BC, axis=-1)
    # A token stays while those before it hold less than top_p: the smallest set.
    before_BC = jnp.cumsum(share_BC, axis=-1) - share_BC
    is_kept_BC = (before_BC < cfg.top_p).at[:, 0].set(True)
    logits_BC = jnp.where(is_kept_BC, logits_BC, -jnp.inf)
  return logits_BC, id_BC
