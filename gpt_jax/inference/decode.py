"""The pure functions of decoding, which `engine.py` compiles: state in, state out."""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core.pytree import map_named
from gpt_jax.core.types import Array, PyTree
from gpt_jax.inference import early_exit, guide, penalties, token_log_probs
from gpt_jax.inference.penalties import History
from gpt_jax.inference.rows import put_cache, resize, take_cache
from gpt_jax.inference.sampling import SamplingRows, Work, real_logits, sample
from gpt_jax.inference.token_log_probs import LogProbs
from gpt_jax.model import joined, stacking
from gpt_jax.model.cache import empty_cache
from gpt_jax.model.gpt import TRANSPOSED
from gpt_jax.parallel.sharding import constrain
from gpt_jax.peft import batched
from gpt_jax.quantization import linear, packed

CHUNK = 32
"""Tokens per row that one call of `decode` can make."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RowSettings:
  """What each row of a batch asks for; a pytree."""

  sampling: SamplingRows
  max_new_tokens_B: Array
  stop_BI: Array
  """Ids that end a row; -1 ends none."""
  has_log_probs_B: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DecodeState:
  """A batch of texts being written; a pytree."""

  cache: PyTree
  """Keys and values of all tokens before `token_B`."""
  token_B: Array
  """The last token of each row, which the model has not read yet."""
  rng_B: Array
  is_done_B: Array
  count_B: Array
  """New tokens so far."""
  layers_B: Array
  """Layers that they went through, of all together; 0 without an exit rule."""
  history: History
  settings: RowSettings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Written:
  """New tokens of a batch; a pytree."""

  ids_BC: Array
  log_probs: LogProbs
  """[B, C]; zeros unless a row of the batch asks for them."""


def prepare_params(
  params, *, dtype, transposes_head=False, joins=False, keeps_dtype=lambda name: False
):
  """Returns unrolled parameters, cast once where each use would cast them anyway.

  `transposes_head` adds a copy of the embedding, for the logits of single tokens;
  `joins` makes one kernel of those with the same input (`model.joined`). Parameters
  that `keeps_dtype` of their name are not cast.
  """

  def cast(name, leaf):
    # Norms compute in float32 from what is stored: a cast would change their result.
    if '_norm' in name or packed.is_part(name) or keeps_dtype(name):
      return leaf
    return linear.prepared(leaf) if packed.is_packed(leaf) else leaf.astype(dtype)

  params = map_named(cast, stacking.unstack(params))
  if joins:
    params = joined.join(params)
  if transposes_head:
    embed = params['embed']
    params = params | {'embed': embed | {TRANSPOSED: embed['embedding'].T}}
  return params


def extend(
  params, cache, tokens_RT, slot_R, start_R, count_R, prefix_R=None, *,
  model, places, logits='none',
):  # fmt: skip
  """Returns (cache, logits) after some rows of it have read more tokens.

  Args:
    cache: of all slots, with space for the tokens.
    tokens_RT: the next `count_R` tokens of R rows, padded.
    slot_R: which rows of the cache they extend; one beyond it stands for no row.
    start_R: how many tokens a row keeps: it reads on from there, and what it held
      behind that is forgotten (local layers need what came right before).
    prefix_R: tokens before this position see each other; None: causal. A prefix has to
      be read at once.
    places: of each row that are looked at, static, at least `start + T` of each row.
    logits: static. 'none'; 'last': of the last real token, float32 [R, V]; 'all':
      [R, T, V], of padding without meaning.
  """
  rows = take_cache(cache, slot_R, places)
  rows |= {'length_B': start_R, 'count_B': count_R}
  mask = masks.causal() if prefix_R is None else masks.prefix(prefix_R)
  logits_RTV, rows = model.apply({'params': params}, tokens_RT, mask, cache=rows)
  cache = put_cache(cache, rows, slot_R)
  if logits == 'none':
    return cache, None
  if logits == 'last':
    last_R11 = jnp.maximum(count_R - 1, 0)[:, None, None]
    return cache, jnp.take_along_axis(logits_RTV, last_R11, axis=1)[:, 0]
  return cache, logits_RTV


def prefill(
  params, tokens_BT, length_B, prefix_B, seed_B, identity_B2, settings, *,
  model, cache_len, visibility, cache_dtype=None, spare=0,
):  # fmt: skip
  """Returns the DecodeState that has read padded prompts of `length_B` tokens.

  The first `prefix_B` tokens see each other where `visibility` is 'prefix'. The last
  token of each prompt is read again by the first step of decoding. `cache_dtype` and
  `spare` as of `empty_cache`.
  """
  cfg, (B, T) = model.cfg, tokens_BT.shape
  cache = empty_cache(cfg, B, T, cache_dtype, spare) | {'count_B': length_B}
  mask = masks.prefix(prefix_B) if visibility == 'prefix' else masks.causal()
  _, cache = model.apply({'params': params}, tokens_BT, mask, cache=cache)
  cache = resize(cache, cfg, cache_len, cache_dtype, spare)
  state = begin(
    tokens_BT, length_B, seed_B, identity_B2, settings, vocab_size=cfg.vocab_size
  )
  return dataclasses.replace(state, cache=cache | {'length_B': length_B - 1})


def begin(tokens_BT, length_B, seed_B, identity_B2, settings, *, vocab_size):
  """Returns the DecodeState, but for the cache, of prompts of `length_B` tokens."""

  def row_key(seed, identity_2):
    key = jax.random.fold_in(jax.random.key(seed), identity_2[0])
    return jax.random.fold_in(key, identity_2[1])

  return DecodeState(
    cache=None,
    token_B=jnp.take_along_axis(tokens_BT, length_B[:, None] - 1, axis=1)[:, 0],
    rng_B=jax.vmap(row_key)(seed_B, identity_B2),
    is_done_B=settings.max_new_tokens_B == 0,
    count_B=jnp.zeros(len(tokens_BT), jnp.int32),
    layers_B=jnp.zeros(len(tokens_BT), jnp.int32),
    history=History.of(tokens_BT, length_B, vocab_size),
    settings=settings,
  )


def reread(
  params, state, tokens_BT, length_B, prefix_B, is_cropped_B, *, model, visibility
):
  """Returns `state` with the cropped rows' caches as if their texts began later.

  `tokens_BT` are what is left of them, `length_B` tokens, the last one unread.
  """
  B, T = tokens_BT.shape
  slot_B = jnp.where(is_cropped_B, jnp.arange(B), B)
  cache, _ = extend(
    params, state.cache, tokens_BT, slot_B, jnp.zeros_like(length_B), length_B,
    prefix_B if visibility == 'prefix' else None, model=model, places=T,
  )  # fmt: skip
  length_B = cache['length_B'] - is_cropped_B
  return dataclasses.replace(state, cache=cache | {'length_B': length_B})


def decode(params, state, limit, guidance, *, model, vocab_limit, exit_rule=None):
  """Returns (state, Written, have all rows ended) `limit` <= CHUNK tokens later.

  `guidance`, what guides allow, holds for the first token: with masks, `limit` is 1.
  Ids from `vocab_limit` on are never written. By an ExitRule tokens skip layers.
  """
  # The loop runs on the device: between tokens nothing waits for the host.
  params, settings = batched.gathered(params), state.settings
  rows, vocab_size = settings.sampling, model.cfg.vocab_size
  work = Work.of(rows, vocab_size)
  has_log_probs = jnp.any(settings.has_log_probs_B)

  def is_unfinished(carry):
    i, state, _ = carry
    return (i < limit) & ~jnp.all(state.is_done_B)

  def step(carry):
    i, state, written = carry
    logits_BV, cache, layers_B = _read_token(params, state, model, exit_rule)
    # A row that does not write reads the same place again, which holds no token yet.
    length_B = state.cache['length_B'] + ~state.is_done_B
    # Choosing looks at all of a row: its logits come together first.
    logits_BV = constrain(model.rules, logits_BV, 'batch', None)
    logits_BV = real_logits(logits_BV, vocab_limit)
    asked_BV = penalties.adjust(logits_BV, rows, state.history)
    asked_BV = guide.mask(asked_BV, guidance.allowed_BW)
    token_B = sample(asked_BV, state.rng_B, state.count_B, rows, work)
    count_B = state.count_B + 1
    is_stop_B = jnp.any(token_B[:, None] == settings.stop_BI, axis=1)
    state = dataclasses.replace(
      state,
      cache=cache | {'length_B': length_B},
      token_B=token_B,
      is_done_B=state.is_done_B | is_stop_B | (count_B >= settings.max_new_tokens_B),
      count_B=count_B,
      layers_B=state.layers_B + jnp.where(state.is_done_B, 0, layers_B),
      history=state.history.add(token_B),
    )
    log_probs = jax.lax.cond(
      has_log_probs,
      lambda: written.log_probs.at(i, token_log_probs.of(logits_BV, token_B)),
      lambda: written.log_probs,
    )
    return i + 1, state, Written(written.ids_BC.at[:, i].set(token_B), log_probs)

  state = dataclasses.replace(state, is_done_B=state.is_done_B | guidance.is_ended_B)
  shape = len(state.token_B), CHUNK
  written = Written(
    jnp.zeros(shape, jnp.int32), LogProbs.zeros(*shape, vocab_size=vocab_size)
  )
  _, state, written = jax.lax.while_loop(is_unfinished, step, (0, state, written))
  return state, written, jnp.all(state.is_done_B)


def _read_token(params, state, model, exit_rule):
  """Returns (logits [B, V], cache, layers that rows used) after the newest tokens."""
  if exit_rule is None:
    logits_B1V, cache = model.apply(
      {'params': params}, state.token_B[:, None], cache=state.cache
    )
    return logits_B1V[:, 0], cache, 0
  limit_B = exit_rule.thresholds(state.count_B, state.settings.max_new_tokens_B)
  # Rows that are done keep no other waiting.
  limit_B = jnp.where(state.is_done_B, 0.0, limit_B)
  return early_exit.read_token(
    model, params, state.token_B, state.cache, limit_B, exit_rule
  )


def forward(params, tokens_BT, length_B, *, model, visibility, vocab_limit, prefix_B=0):
  """Returns logits float32 [B, T, V], -inf from `vocab_limit` on.

  Of each row `length_B` tokens are real; no token sees the padding after them.
  """
  mask = masks.causal()
  if visibility == 'prefix':
    mask = masks.prefix(jnp.broadcast_to(prefix_B, length_B.shape))
  if visibility == 'bidirectional':
    is_real_BT = jnp.arange(tokens_BT.shape[1])[None] < length_B[:, None]
    mask = masks.bidirectional(is_real_BT.astype(jnp.int32))
  logits_BTV, _ = model.apply({'params': params}, tokens_BT, mask)
  return real_logits(logits_BTV, vocab_limit)


def log_probs(params, tokens_BN, prefix_B, *, model, visibility, vocab_limit):
  """Returns the log-probability of each token given those before it, [B, N - 1]."""
  inputs_BT, targets_BT = tokens_BN[:, :-1], tokens_BN[:, 1:]
  length_B = jnp.full(len(tokens_BN), inputs_BT.shape[1])
  logits_BTV = forward(
    params, inputs_BT, length_B, model=model, visibility=visibility,
    vocab_limit=vocab_limit, prefix_B=prefix_B,
  )  # fmt: skip
  log_probs_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
  return jnp.take_along_axis(log_probs_BTV, targets_BT[..., None], axis=-1)[..., 0]


def text_log_probs(params, tokens_BN, *, model, visibility, vocab_limit):
  """Returns the LogProbs of each token given those before it, [B, N - 1]."""
  inputs_BT, targets_BT = tokens_BN[:, :-1], tokens_BN[:, 1:]
  length_B = jnp.full(len(tokens_BN), inputs_BT.shape[1])
  logits_BTV = forward(
    params, inputs_BT, length_B, model=model, visibility=visibility,
    vocab_limit=vocab_limit,
  )  # fmt: skip
  return token_log_probs.of(logits_BTV, targets_BT)
