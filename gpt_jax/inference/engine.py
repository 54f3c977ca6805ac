"""Text from a model, token by token, with the cache of keys and values.

Prompts of any lengths run as one batch, padded on the right: a pad's cache row is never
seen, for the row's next token overwrites it first. Lengths are rounded up to powers of
two, so few programs are compiled. The prompt's last token is read again as the first
step of decoding, which makes every new token come out of the same program.
"""

import collections
import dataclasses
import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.pytree import map_named
from gpt_jax.core.types import Array, PyTree
from gpt_jax.inference.sampling import Sampling, real_logits, sample
from gpt_jax.model import stacking
from gpt_jax.model.cache import empty_cache
from gpt_jax.model.gpt import GPT
from gpt_jax.objectives import VISIBILITIES

CHUNK = 32  # tokens per row between two looks of the host
STREAM_CHUNK = 8  # the same when somebody reads along: 1, 2, 4, then 8 at a time
MIN_BUCKET = 16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DecodeState:
  """A batch of texts under way; a pytree."""

  cache: PyTree
  """Holds all tokens before `token_B`."""
  token_B: Array
  """The last token of each row, not read yet."""
  rng_B: Array
  is_done_B: Array
  count: Array
  """New tokens so far."""


class Engine:
  """Decodes, scores and gives logits with one model. Compiles at the first call."""

  def __init__(
    self, cfg, params, *, attend=None, rules=None,
    vocab_limit=None, visibility='causal',
  ):  # fmt: skip
    """Takes a resolved ModelConfig, and parameters in either form.

    Args:
      attend, rules: as `GPT` takes them.
      vocab_limit: ids from here on only pad the table; None: all are real.
      visibility: what the model was trained to see, one of objectives.VISIBILITIES.
    """
    assert visibility in VISIBILITIES, visibility
    self.cfg = dataclasses.replace(cfg, scan_layers=False, remat='none')
    self.vocab_limit = vocab_limit or cfg.vocab_size
    self.visibility = visibility
    model = GPT(self.cfg, attend, rules)
    reading = dict(model=model, visibility=visibility)
    scoring = reading | dict(vocab_limit=self.vocab_limit)
    # What the host reads is whole on every device, however parameters are cut.
    whole = _replicated(params)
    self._prepare = jax.jit(functools.partial(_prepare, dtype=cfg.dtype))
    self._prefill = jax.jit(
      functools.partial(prefill, **reading), static_argnames='cache_len'
    )
    self._decode = jax.jit(
      functools.partial(decode, model=model),
      static_argnames='sampling',
      donate_argnums=1,
      out_shardings=(None, whole, whole),
    )
    self._forward = jax.jit(functools.partial(forward, **scoring), out_shardings=whole)
    self._log_probs = jax.jit(
      functools.partial(log_probs, **scoring), out_shardings=whole
    )
    self.set_params(params)

  def set_params(self, params):
    """Uses other parameters of the same shapes from now on; nothing compiles anew."""
    self._params = self._prepare(params)

  @property
  def params(self):
    """The parameters as decoding reads them: unrolled, in the model's dtype."""
    return self._params

  def release(self):
    """Lets go of the parameters, which may be a copy, until `set_params`."""
    self._params = None

  def generate(
    self, prompts_ids, *, max_new_tokens, sampling=None, seed=0, stop_ids=()
  ):
    """Returns the new ids of each prompt, int32 arrays, up to and without a stop id.

    A text depends on `seed`, its prompt and how often that prompt stands before it in
    the list, never on other prompts. Raises ConfigError for an empty prompt, an id out
    of range, and tokens that the learned position table has no room for.
    """
    if not prompts_ids:
      return []
    stop_ids = tuple(stop_ids)
    chunks = self._chunks(
      prompts_ids, max_new_tokens, sampling or Sampling(), seed, stop_ids,
      size=CHUNK, largest=CHUNK,
    )  # fmt: skip
    empty_B0 = np.zeros((len(prompts_ids), 0), np.int32)
    ids_BN = np.concatenate([empty_B0, *chunks], axis=1)
    return [_before_stop(ids_N, stop_ids) for ids_N in ids_BN]

  def stream(self, prompt_ids, *, max_new_tokens, sampling=None, seed=0, stop_ids=()):
    """Yields the ids that `generate` returns for this prompt, while more are written.

    The first comes alone; later ones up to STREAM_CHUNK at a time, since entering the
    device's loop costs about as much as a token.
    """
    stop_ids = tuple(stop_ids)
    chunks = self._chunks(
      [prompt_ids], max_new_tokens, sampling or Sampling(), seed, stop_ids,
      size=1, largest=STREAM_CHUNK,
    )  # fmt: skip
    for ids_1C in chunks:
      yield from _before_stop(ids_1C[0], stop_ids).tolist()

  def score(self, context_ids, continuation_ids):
    """Returns the log-likelihood, in nats, of ids that follow a non-empty context."""
    self._require_left_to_right()
    context_ids, continuation_ids = _as_ids(context_ids), _as_ids(continuation_ids)
    ids_N = np.concatenate([context_ids, continuation_ids])
    self._check([context_ids], len(continuation_ids), 'continuation')
    self._check([ids_N], 0, 'continuation')
    tokens_BN = _pad([ids_N], bucket(len(ids_N)))
    prefix_B = np.array([len(context_ids)], np.int32)
    log_probs_BT = np.asarray(self._log_probs(self._params, tokens_BN, prefix_B))
    # float64: a long text adds up many small terms.
    scored_T = log_probs_BT[0, len(context_ids) - 1 : len(ids_N) - 1]
    return float(scored_T.sum(dtype=np.float64))

  def logits(self, tokens_BT):
    """Returns float32 [B, T, V], V without padding, for rows of equal length.

    Models that see their prompt whole (prefix LM) are given none here.
    """
    tokens_BT = np.asarray(tokens_BT)
    if tokens_BT.ndim != 2:
      raise ConfigError(
        f'tokens: expected ids of shape [batch, time], not {list(tokens_BT.shape)}; add'
        ' an axis with tokens[None].'
      )
    rows = [_as_ids(row) for row in tokens_BT]
    self._check(rows, 0, 'tokens')
    T = tokens_BT.shape[1]
    length_B = np.full(len(rows), T, np.int32)
    logits_BTV = self._forward(self._params, _pad(rows, bucket(T)), length_B)
    return logits_BTV[:, :T, : self.vocab_limit]

  def room(self, prompt_len):
    """Returns how many tokens may follow a prompt of that length; None: any number."""
    if self.cfg.position != 'learned':
      return None
    return max(self.cfg.max_seq_len - prompt_len, 0)

  def _chunks(
    self, prompts_ids, max_new_tokens, sampling, seed, stop_ids, *, size, largest
  ):
    """Yields ids [B, n] until there are enough or all rows have stopped.

    n starts as `size` and doubles up to `largest`. After a row's stop id its ids mean
    nothing.
    """
    self._require_left_to_right()
    prompts_ids = [_as_ids(ids) for ids in prompts_ids]
    self._check(prompts_ids, max_new_tokens, 'max_new_tokens')
    sampling = dataclasses.replace(
      sampling, vocab_limit=sampling.vocab_limit or self.vocab_limit
    )
    state = self._start(prompts_ids, max_new_tokens, seed)
    stop_I = _as_ids(stop_ids)
    missing = max_new_tokens
    while missing:
      n = min(size, missing)
      state, ids_BC, is_over = self._decode(
        self._params, state, n, stop_I, sampling=sampling
      )
      yield np.asarray(ids_BC)[:, :n]
      if is_over:
        return
      missing, size = missing - n, min(2 * size, largest)

  def _start(self, prompts_ids, max_new_tokens, seed):
    """Returns the DecodeState of `prompts_ids` before its first new token."""
    longest = max(map(len, prompts_ids))
    return self._prefill(
      self._params,
      _pad(prompts_ids, bucket(longest)),
      np.array([len(ids) for ids in prompts_ids], np.int32),
      np.uint32(seed % 2**32),
      _identities(prompts_ids),
      cache_len=bucket(longest + max_new_tokens),
    )

  def _require_left_to_right(self):
    if self.visibility == 'bidirectional':
      raise ConfigError(
        'a bidirectional model (objective.name="masked_lm" or the like) cannot write or'
        ' score text from left to right; use its logits.'
      )

  def _check(self, rows, num_more, field):
    """Raises ConfigError for rows of ids that the model cannot read and go on from."""
    if num_more < 0:
      raise ConfigError(f'{field}={num_more}: expected 0 or more tokens.')
    for i, ids in enumerate(rows):
      if not len(ids):
        raise ConfigError(
          f'text {i} has no token; expected at least one to start from.'
        )
      if ids.min() < 0 or ids.max() >= self.vocab_limit:
        wrong = ids[(ids < 0) | (ids >= self.vocab_limit)][0]
        raise ConfigError(
          f'text {i} holds the id {wrong}; expected ids from 0 to'
          f' {self.vocab_limit - 1}.'
        )
    longest = max(map(len, rows))
    limit = self.cfg.max_seq_len
    if self.cfg.position == 'learned' and longest + num_more > limit:
      raise ConfigError(
        f'{field}: {longest} tokens and {num_more} after them are {longest + num_more},'
        f' but the learned position table ends at model.max_seq_len={limit}; '
        + (f'ask for at most {limit - longest}.' if longest < limit else 'shorten it.')
      )


# The pure functions that are compiled


def prefill(
  params, tokens_BT, length_B, seed, identity_B2, *, model, cache_len, visibility
):
  """Returns the DecodeState that has read padded prompts of `length_B` tokens."""
  B = len(tokens_BT)
  mask = masks.prefix(length_B) if visibility == 'prefix' else masks.causal()
  _, cache = model.apply(
    {'params': params}, tokens_BT, mask, cache=empty_cache(model.cfg, B, cache_len)
  )

  def row_key(identity_2):
    key = jax.random.fold_in(jax.random.key(seed), identity_2[0])
    return jax.random.fold_in(key, identity_2[1])

  last_B1 = length_B[:, None] - 1
  return DecodeState(
    # Not the padded length; the first step of decoding writes the last row again.
    cache=cache | {'length_B': length_B - 1},
    token_B=jnp.take_along_axis(tokens_BT, last_B1, axis=1)[:, 0],
    rng_B=jax.vmap(row_key)(identity_B2),
    is_done_B=jnp.zeros(B, bool),
    count=jnp.zeros((), jnp.int32),
  )


def decode(params, state, limit, stop_I, *, model, sampling):
  """Returns `(state, ids_BC, have all stopped)` after `limit` <= CHUNK more tokens.

  A loop on the device: nothing waits for the host between two tokens.
  """

  def is_going(carry):
    i, state, _ = carry
    return (i < limit) & ~jnp.all(state.is_done_B)

  def step(carry):
    i, state, ids_BC = carry
    logits_BTV, cache = model.apply(
      {'params': params}, state.token_B[:, None], cache=state.cache
    )
    rng_B = jax.vmap(jax.random.fold_in, (0, None))(state.rng_B, state.count)
    token_B = sample(logits_BTV[:, 0], rng_B, sampling)
    state = DecodeState(
      cache=cache,
      token_B=token_B,
      rng_B=state.rng_B,
      is_done_B=state.is_done_B | jnp.isin(token_B, stop_I),
      count=state.count + 1,
    )
    return i + 1, state, ids_BC.at[:, i].set(token_B)

  ids_BC = jnp.zeros((len(state.token_B), CHUNK), jnp.int32)
  _, state, ids_BC = jax.lax.while_loop(is_going, step, (0, state, ids_BC))
  return state, ids_BC, jnp.all(state.is_done_B)


def forward(params, tokens_BT, length_B, *, model, visibility, vocab_limit, prefix_B=0):
  """Returns logits float32 [B, T, V], -inf from `vocab_limit` on; pads are not seen."""
  mask = masks.causal()
  if visibility == 'prefix':
    mask = masks.prefix(jnp.broadcast_to(prefix_B, length_B.shape))
  if visibility == 'bidirectional':
    is_real_BT = jnp.arange(tokens_BT.shape[1])[None] < length_B[:, None]
    mask = masks.bidirectional(is_real_BT.astype(jnp.int32))
  logits_BTV, _ = model.apply({'params': params}, tokens_BT, mask)
  return real_logits(logits_BTV, vocab_limit)


def log_probs(params, tokens_BN, prefix_B, *, model, visibility, vocab_limit):
  """Returns the log-probability of each token after those before it, [B, N - 1]."""
  inputs_BT, targets_BT = tokens_BN[:, :-1], tokens_BN[:, 1:]
  length_B = jnp.full(len(tokens_BN), inputs_BT.shape[1])
  logits_BTV = forward(
    params, inputs_BT, length_B, model=model, visibility=visibility,
    vocab_limit=vocab_limit, prefix_B=prefix_B,
  )  # fmt: skip
  log_probs_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
  return jnp.take_along_axis(log_probs_BTV, targets_BT[..., None], axis=-1)[..., 0]


def _prepare(params, *, dtype):
  """Returns unrolled parameters, cast once where each use would cast them anyway."""

  def cast(name, leaf):
    # Norms compute in float32 from what is stored: a cast would change their result.
    return leaf if '_norm' in name else leaf.astype(dtype)

  return map_named(cast, stacking.unstack(params))


# Host-side parts


def bucket(length):
  """Returns the power of two, 16 or more, that `length` is padded to."""
  return max(MIN_BUCKET, 1 << (int(length) - 1).bit_length())


def _as_ids(ids):
  return np.asarray(ids, np.int32).reshape(-1)


def _pad(rows, length):
  padded_BT = np.zeros((len(rows), length), np.int32)
  for i, ids in enumerate(rows):
    padded_BT[i, : len(ids)] = ids
  return padded_BT


def _identities(prompts_ids):
  """Returns for each row a hash of its prompt and how often that stood before it.

  They seed the row's random stream: a prompt gets the same text in any company, and
  asked twice, two texts.
  """
  seen = collections.Counter()
  identity_B2 = np.zeros((len(prompts_ids), 2), np.uint32)
  for i, ids in enumerate(prompts_ids):
    content = ids.tobytes()
    identity_B2[i] = zlib.crc32(content), seen[content]
    seen[content] += 1
  return identity_B2


def _replicated(params):
  """Returns the sharding of a whole copy on each device of `params`, or None."""
  sharding = jax.tree.leaves(params)[0].sharding
  if isinstance(sharding, NamedSharding):
    return NamedSharding(sharding.mesh, PartitionSpec())
  return None


def _before_stop(ids_N, stop_ids):
  stops = np.flatnonzero(np.isin(ids_N, stop_ids))
  return ids_N[: stops[0]] if len(stops) else ids_N
