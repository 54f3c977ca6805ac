"""Text from a model as ids, token by token, with a cache of keys and values."""

import collections
import dataclasses
import functools
import math
import zlib

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import cache_memory, decode
from gpt_jax.inference.decode import CHUNK
from gpt_jax.inference.sampling import GREEDY
from gpt_jax.model import positions
from gpt_jax.model.gpt import GPT
from gpt_jax.objectives import VISIBILITIES

STREAM_CHUNK = 8  # as CHUNK, for a reader: 1, 2, 4, then 8 tokens at a time
MIN_BUCKET = 16


class Engine:
  """Decodes, scores and gives logits with one model; compiles at the first call."""

  # Prompts of any lengths run as one batch, padded on the right: the cache row of a pad
  # is never seen, since the row's next token overwrites it first. Lengths are rounded
  # up to powers of two, so few programs are compiled. The first step of decoding reads
  # the prompt's last token again, so that one program makes every new token.

  def __init__(
    self, cfg, params, *, attend=None, rules=None,
    vocab_limit=None, visibility='causal',
  ):  # fmt: skip
    """Takes a resolved ModelConfig, and parameters stacked or unrolled.

    Args:
      attend, rules: as `GPT` takes them.
      vocab_limit: ids from here on only pad the embedding; None: all are real.
      visibility: what a token sees, one of objectives.VISIBILITIES.
    """
    assert visibility in VISIBILITIES, visibility
    self.cfg = dataclasses.replace(cfg, scan_layers=False, remat='none')
    self.vocab_limit = vocab_limit or cfg.vocab_size
    self.visibility = visibility
    model = GPT(self.cfg, attend, rules)
    reading = dict(model=model, visibility=visibility)
    scoring = reading | dict(vocab_limit=self.vocab_limit)
    # What the host reads is replicated, however parameters are sharded.
    replicated = _replicated(params)
    self._prepare = jax.jit(functools.partial(decode.prepare_params, dtype=cfg.dtype))
    self._prefill = jax.jit(
      functools.partial(decode.prefill, **reading), static_argnames='cache_len'
    )
    self._decode = jax.jit(
      functools.partial(decode.decode, model=model),
      static_argnames='sampling',
      donate_argnums=1,
      out_shardings=(None, replicated, replicated),
    )
    self._forward = jax.jit(
      functools.partial(decode.forward, **scoring), out_shardings=replicated
    )
    self._log_probs = jax.jit(
      functools.partial(decode.log_probs, **scoring), out_shardings=replicated
    )
    self.set_params(params)

  def set_params(self, params):
    """Uses other parameters of the same shapes from now on; nothing compiles anew."""
    self.params = self._prepare(params)

  def release(self):
    """Frees the parameters, which may be a copy, until `set_params`."""
    self.params = None

  def generate(
    self, prompts_ids, *, max_new_tokens, sampling=GREEDY, seed=0, stop_ids=()
  ):
    """Returns the new ids of each prompt, int32 arrays, up to and without a stop id.

    A text depends on `seed`, its prompt and how often that prompt stands before it in
    the list, never on other prompts. Raises ConfigError for what the model cannot read.
    """
    if not prompts_ids:
      return []
    stop_ids = tuple(stop_ids)
    chunks = self._chunks(
      prompts_ids, max_new_tokens, sampling, seed, stop_ids, size=CHUNK, largest=CHUNK
    )
    empty_B0 = np.zeros((len(prompts_ids), 0), np.int32)
    ids_BN = np.concatenate([empty_B0, *chunks], axis=1)
    return [_before_stop(ids_N, stop_ids) for ids_N in ids_BN]

  def stream(self, prompt_ids, *, max_new_tokens, sampling=GREEDY, seed=0, stop_ids=()):
    """Yields the ids that `generate` returns for this prompt, while it is written."""
    stop_ids = tuple(stop_ids)
    # The first comes alone; later ones up to STREAM_CHUNK at a time, since entering the
    # device's loop costs about as much as a token.
    chunks = self._chunks(
      [prompt_ids], max_new_tokens, sampling, seed, stop_ids,
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
    log_probs_BT = np.asarray(self._log_probs(self.params, tokens_BN, prefix_B))
    # float64: a long text adds up many small terms.
    scored_T = log_probs_BT[0, len(context_ids) - 1 : len(ids_N) - 1]
    return float(scored_T.sum(dtype=np.float64))

  def logits(self, tokens_BT):
    """Returns float32 [B, T, V], V without padding; of prefix models with no prefix."""
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
    logits_BTV = self._forward(self.params, _pad(rows, bucket(T)), length_B)
    return logits_BTV[:, :T, : self.vocab_limit]

  def max_new_tokens_for(self, prompt_len):
    """Returns how many tokens may follow a prompt of that length; inf: any number."""
    limit = positions.max_positions(self.cfg)
    return math.inf if limit is None else max(limit - prompt_len, 0)

  def _chunks(
    self, prompts_ids, max_new_tokens, sampling, seed, stop_ids, *, size, largest
  ):
    """Yields ids [B, n], n from `size` doubling up to `largest`; ignore what follows a
    row's stop id."""
    self._require_left_to_right()
    prompts_ids = [_as_ids(ids) for ids in prompts_ids]
    self._check(prompts_ids, max_new_tokens, 'max_new_tokens')
    sampling = dataclasses.replace(
      sampling, vocab_limit=sampling.vocab_limit or self.vocab_limit
    )
    with cache_memory.explained(self.cfg, prompts_ids, max_new_tokens):
      state = self._start(prompts_ids, max_new_tokens, seed)
      stop_I = _as_ids(stop_ids)
      missing = max_new_tokens
      while missing:
        n = min(size, missing)
        state, ids_BC, is_over = self._decode(
          self.params, state, n, stop_I, sampling=sampling
        )
        yield np.asarray(ids_BC)[:, :n]
        if is_over:
          return
        missing, size = missing - n, min(2 * size, largest)

  def _start(self, prompts_ids, max_new_tokens, seed):
    longest = max(map(len, prompts_ids))
    cache_len = bucket(longest + max_new_tokens)
    cache_memory.require_fit(self.cfg, prompts_ids, max_new_tokens, cache_len)
    return self._prefill(
      self.params,
      _pad(prompts_ids, bucket(longest)),
      np.array([len(ids) for ids in prompts_ids], np.int32),
      np.uint32(seed % 2**32),
      _identities(prompts_ids),
      cache_len=cache_len,
    )

  def _require_left_to_right(self):
    if self.visibility == 'bidirectional':
      raise ConfigError(
        'a bidirectional model (objective.name="masked_lm" or the like) cannot write or'
        ' score text from left to right; use its logits.'
      )

  def _check(self, rows, num_more, field):
    """Raises ConfigError unless the model can read `rows` and `num_more` ids after."""
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
    limit = positions.max_positions(self.cfg)
    if limit is not None and longest + num_more > limit:
      raise ConfigError(
        f'{field}: {longest} tokens and {num_more} after them are {longest + num_more},'
        f' but {self.cfg.position} positions end at model.max_seq_len={limit}; '
        + (f'ask for at most {limit - longest}.' if longest < limit else 'shorten it.')
      )


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
  """Returns for each row a hash of its prompt and how often that came before it."""
  # They seed the row's random stream: a prompt gets the same text whatever else is in
  # the batch, and given twice, two texts.
  seen = collections.Counter()
  identity_B2 = np.zeros((len(prompts_ids), 2), np.uint32)
  for i, ids in enumerate(prompts_ids):
    content = ids.tobytes()
    identity_B2[i] = zlib.crc32(content), seen[content]
    seen[content] += 1
  return identity_B2


def _replicated(params):
  """Returns the replicated sharding on the devices of `params`, None without a mesh."""
  sharding = jax.tree.leaves(params)[0].sharding
  if isinstance(sharding, NamedSharding):
    return NamedSharding(sharding.mesh, PartitionSpec())
  return None


def _before_stop(ids_N, stop_ids):
  stops = np.flatnonzero(np.isin(ids_N, stop_ids))
  return ids_N[: stops[0]] if len(stops) else ids_N
