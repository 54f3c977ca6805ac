"""Text from a model as ids, token by token, with a cache of keys and values."""

import dataclasses
import functools
import itertools
import math

import jax
import numpy as np

from gpt_jax import peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import (
  adapted,
  cache_memory,
  decode,
  guide,
  many,
  placement,
  slots,
)
from gpt_jax.inference.adapter_choice import AdapterChoice
from gpt_jax.inference.capacity import AS_FITS
from gpt_jax.inference.context import Contexts
from gpt_jax.inference.decode import CHUNK, RowSettings
from gpt_jax.inference.early_exit import LayersUsed
from gpt_jax.inference.pace import Pace
from gpt_jax.inference.packing import bucket
from gpt_jax.inference.request import (
  as_ids,
  identities,
  require_ids,
  token_array,
)
from gpt_jax.inference.sampling import SamplingRows
from gpt_jax.inference.scoring import Scorer
from gpt_jax.inference.writing import Writing
from gpt_jax.model import positions
from gpt_jax.objectives import VISIBILITIES

STOP_BUCKET = 4  # stop ids of a row are padded to a multiple of this


class Engine:
  """Decodes, scores and gives logits with one model; compiles at the first call."""

  # Prompts of any lengths run as one batch, padded on the right: the cache row of a pad
  # is never seen, since the row's next token overwrites it first. Lengths are rounded
  # up to powers of two, so few programs are compiled, and what a request asks for is
  # data to them. The first step of decoding reads the prompt's last token again, so
  # that one program makes every new token.

  _spare = 0  # tokens that rows may take back
  has_slots = True

  def __init__(
    self, cfg, params, *, attend, rules=None,
    vocab_limit=None, text_limit=None, visibility='causal', exit_rule=None,
    wishes=AS_FITS, cache_dtype=None, adapter=None,
  ):  # fmt: skip
    """Takes a resolved ModelConfig, and parameters stacked or unrolled.

    Args:
      attend: as `GPT` takes it.
      rules: those of training where `params` lie on a mesh; None: XLA decides.
      vocab_limit: ids from here on only pad the embedding; None: all are real.
      text_limit: ids from here on are never written; None: `vocab_limit`.
      visibility: what a token sees, one of objectives.VISIBILITIES.
      exit_rule: an ExitRule, by which new tokens skip layers; None: they skip none.
      wishes: how many texts are written at a time.
      cache_dtype: of keys and values, as `empty_cache` takes it.
      adapter: an Adapter whose parameters are in `params`, or None.
    """
    assert visibility in VISIBILITIES, visibility
    self.cfg = dataclasses.replace(cfg, scan_layers=False, remat='none')
    self.vocab_limit = vocab_limit or cfg.vocab_size
    self.text_limit = text_limit or self.vocab_limit
    self.visibility, self.wishes, self.cache_dtype = visibility, wishes, cache_dtype
    self._layers = LayersUsed(exit_rule, self.cfg.num_layers)
    self.rules = rules and placement.decoding_rules(rules, self.cfg)
    self._adapter = adapter
    self.num_virtual = adapted.num_positions(adapter)  # tokens before those of a text
    self.model = model = peft.make_gpt(adapter, self.cfg, attend, self.rules)
    self._choice = AdapterChoice(adapter)
    reading = dict(model=model, visibility=visibility)
    scoring = reading | dict(vocab_limit=self.vocab_limit)
    # What the host reads is replicated, however parameters are sharded.
    replicated = placement.replicated(params)
    self._prepare = adapted.make_prepare(adapter, self.cfg, params)
    self._prefill = jax.jit(
      functools.partial(decode.prefill, cache_dtype=cache_dtype, **reading),
      static_argnames=('cache_len', 'spare'),
    )
    self._reread = jax.jit(
      functools.partial(decode.reread, **reading), donate_argnums=1
    )
    self._decode = jax.jit(
      functools.partial(
        decode.decode,
        model=model,
        vocab_limit=self.text_limit,
        exit_rule=exit_rule,
      ),
      donate_argnums=1,
      out_shardings=(None, replicated, replicated),
      compiler_options=placement.loop_options(),
    )
    self._forward = jax.jit(
      functools.partial(decode.forward, **scoring), out_shardings=replicated
    )
    self._log_probs = jax.jit(
      functools.partial(decode.log_probs, **scoring), out_shardings=replicated
    )
    self._scorer = Scorer(
      self.cfg, attend, self.rules, vocab_limit=self.vocab_limit,
      visibility=visibility, adapter=adapter,
    )  # fmt: skip
    self._text_log_probs = jax.jit(
      functools.partial(decode.text_log_probs, **scoring), out_shardings=replicated
    )
    self.set_params(params)

  @property
  def table_len(self):
    """How many tokens the model can read at once; inf unless its positions end."""
    limit = positions.max_positions(self.cfg)
    return math.inf if limit is None else limit - self.num_virtual

  @functools.cached_property
  def slot_programs(self):
    """The compiled programs of `slots.Slots`."""
    return slots.Programs(self)

  def set_params(self, params):
    """Uses other parameters of the same shapes from now on; nothing compiles anew."""
    self.params = placement.committed(self._prepare(params))

  def passes(self):
    """Returns what new tokens took, `{name: {what: number}}`; {} if nothing special."""
    return self._layers.report()

  def params_of(self, adapters):
    """Returns the parameters of a call: `adapters` are names, or None, of its rows.

    Not a list: of all rows.
    """
    return self._choice.params_of(self.params, adapters, self.pad_rows)

  def release(self):
    """Frees the parameters, which may be a copy, until `set_params`."""
    self.params = None

  def generate(self, requests):
    """Returns the new ids of each Request, int32 arrays, up to and without a stop id.

    A text depends on its request and how often the same one stands before it in the
    list, never on others. Raises ConfigError for what the model cannot read.
    """
    return [text.ids for text in self.write(requests)]

  def write(self, requests, on_end=None):
    """Returns the WrittenText of each Request, whose ids are those of `generate`.

    More requests than slots (`many.py`) share them; `on_end(i, text)` is called as they
    end.
    """
    if many.needs_slots(self, requests):
      return many.write(self, requests, on_end)
    writings = [Writing(request) for request in requests]
    for _ in self._chunks(writings, Pace(CHUNK, None)):
      pass
    texts = [writing.result() for writing in writings]
    if on_end is not None:
      for i, text in enumerate(texts):
        on_end(i, text)
    return texts

  def stream(self, request):
    """Yields the ids that `generate` returns for this Request, while it is written."""
    # Several at a time where they are fast: to enter the device's loop costs about as
    # much as a token of a small model.
    writing, shown = Writing(request), 0
    for _ in self._chunks([writing], Pace()):
      yield from writing.ids[shown:]
      shown = len(writing.ids)

  def score(self, context_ids, continuation_ids, adapter=None):
    """Returns the log-likelihood, in nats, of ids that follow a non-empty context."""
    self._require_left_to_right()
    context_ids = as_ids('context', context_ids)
    continuation_ids = as_ids('continuation', continuation_ids)
    ids_N = np.concatenate([context_ids, continuation_ids])
    require_ids([context_ids, ids_N], self.vocab_limit)
    # The last token is predicted, never read.
    self._check_length('score: context and continuation', len(ids_N) - 1)
    tokens_BN = self._pad([ids_N], bucket(len(ids_N)))
    prefix_B = np.full(len(tokens_BN), len(context_ids), np.int32)
    params = self.params_of(adapter)
    log_probs_BT = np.asarray(self._log_probs(params, tokens_BN, prefix_B))
    # float64: a long text adds up many small terms.
    scored_T = log_probs_BT[0, len(context_ids) - 1 : len(ids_N) - 1]
    return float(scored_T.sum(dtype=np.float64))

  def score_many(self, items, advance=lambda count: None, adapter=None):
    """Returns a list of Scores for each `(context_ids, [continuation_ids, ...])`.

    What contexts, and continuations of one, begin with in common is read once; equal to
    `score` up to rounding. `advance(count)` is told of continuations that are scored.
    """
    self._require_left_to_right()
    texts_ids, context_lens = [], []
    for context_ids, continuations_ids in items:
      context_ids = as_ids('context', context_ids)
      for continuation_ids in continuations_ids:
        continuation_ids = as_ids('continuation', continuation_ids)
        texts_ids.append(np.concatenate([context_ids, continuation_ids]))
        context_lens.append(len(context_ids))
        require_ids([context_ids, texts_ids[-1]], self.vocab_limit)
    longest = max(map(len, texts_ids), default=1) - 1
    self._check_length('score: context and continuation', longest)
    params = self.params_of(adapter)
    scores = iter(self._scorer.score(params, texts_ids, context_lens, advance))
    return [list(itertools.islice(scores, len(group))) for _, group in items]

  def text_log_probs(self, ids, adapter=None):
    """Returns the LogProbs [n - 1] of each of n ids but the first, numpy arrays."""
    self._require_left_to_right()
    ids_N = as_ids('text', ids)
    require_ids([ids_N], self.vocab_limit)
    self._check_length('logprobs: the prompt', len(ids_N) - 1)
    tokens_BN = self._pad([ids_N], bucket(len(ids_N)))
    found = self._text_log_probs(self.params_of(adapter), tokens_BN)
    found = jax.device_get(found)
    return jax.tree.map(lambda leaf: leaf[0, : len(ids_N) - 1], found)

  def logits(self, tokens_BT, adapter=None):
    """Returns float32 [B, T, V], V without padding; of prefix models with no prefix."""
    ids_BT = token_array('tokens', tokens_BT)
    if ids_BT.ndim != 2:
      raise ConfigError(
        f'tokens: expected ids of shape [batch, time], not {list(ids_BT.shape)}; add an'
        ' axis with tokens[None].'
      )
    B, T = ids_BT.shape
    rows = list(ids_BT)
    require_ids(rows, self.vocab_limit)
    self._check_length('logits: tokens', T)
    tokens_BT = self._pad(rows, bucket(T))
    length_B = np.full(len(tokens_BT), T, np.int32)
    logits_BTV = self._forward(self.params_of(adapter), tokens_BT, length_B)
    return logits_BTV[:B, :T, : self.vocab_limit]

  def _chunks(self, writings, pace):
    """Yields whenever the Writings took what the Pace says."""
    requests = [writing.request for writing in writings]
    prompts_ids = [request.prompt_ids for request in requests]
    missing = max((request.max_new_tokens for request in requests), default=0)
    self.require_writable(requests)
    if not missing:
      return
    contexts = Contexts(prompts_ids, self.table_len)
    with cache_memory.explained(self.cfg, prompts_ids, missing, self.cache_dtype):
      state = self._start(requests, contexts)
      while missing:
        state = self._crop(state, contexts, requests)
        n = min(pace.tokens(), missing, contexts.free())
        with pace.round(n):
          state, ids_BC, is_over = self.advance(state, writings, n)
        yield
        if is_over or all(writing.finish for writing in writings):
          return
        contexts.extend(ids_BC)
        missing -= ids_BC.shape[1]

  def advance(self, state, writings, limit):
    """Returns (state, ids_BC, have all rows ended) after up to `limit` tokens.

    The Writings, one for each of the first rows, took theirs; one token each where a
    guide masks the next.
    """
    guidance, is_masked = guide.together(writings, self.cfg.vocab_size, self.pad_rows)
    limit = 1 if is_masked else min(limit, CHUNK)
    before = self._layers.of(state)
    params = self.params_of([writing.request.adapter for writing in writings])
    state, written, is_over = self._decode(params, state, limit, guidance)
    self._layers.add(before, state)
    ids_BC, log_probs = np.asarray(written.ids_BC)[: len(writings), :limit], None
    if any(writing.request.log_probs is not None for writing in writings):
      log_probs = jax.device_get(written.log_probs)
    for i, writing in enumerate(writings):
      writing.take(ids_BC[i], log_probs and log_probs.row(i))
    return state, ids_BC, is_over

  def read(self, requests):
    """Returns the DecodeState that has read the prompts of Requests."""
    self.require_writable(requests)
    prompts_ids = [request.prompt_ids for request in requests]
    return self._start(requests, Contexts(prompts_ids, self.table_len))

  def _start(self, requests, contexts):
    """Returns the DecodeState that has read the prompts."""
    prompts_ids = [request.prompt_ids for request in requests]
    longest = max(len(r.prompt_ids) + r.max_new_tokens for r in requests)
    cache_len = bucket(min(longest, self.table_len) + self._spare)
    most = max(r.max_new_tokens for r in requests)
    cache_memory.require_fit(self.cfg, prompts_ids, most, cache_len, self.cache_dtype)
    return self._prefill(
      self.params_of([request.adapter for request in requests]),
      *self._padded(*contexts.read()),
      *self._streams(requests, identities(requests)),
      cache_len=cache_len,
      spare=self._spare,
    )

  def _crop(self, state, contexts, requests):
    """Returns the state after rows that have filled the table began anew."""
    is_cropped_B = contexts.crop()
    if not is_cropped_B.any():
      return state
    rows, prefix_B = contexts.read()
    pairs = zip(rows, is_cropped_B, strict=True)
    rows = [ids if is_cropped else ids[:1] for ids, is_cropped in pairs]
    reading = *self._padded(rows, prefix_B), self.pad_rows(is_cropped_B)
    params = self.params_of([request.adapter for request in requests])
    return self._reread(params, state, *reading)

  def _padded(self, rows, prefix_B):
    """Returns ids [B, T], the lengths of `rows`, and `prefix_B`, padded."""
    length_B = np.array([len(ids) for ids in rows], np.int32)
    tokens_BT = self._pad(rows, bucket(length_B.max()))
    return tokens_BT, self.pad_rows(length_B, 1), self.pad_rows(prefix_B)

  def row_inputs(self, requests, identity_B2, length):
    """Returns what `decode.begin` takes, with prompts padded to `length`."""
    rows = [request.prompt_ids for request in requests]
    length_B = np.array([len(ids) for ids in rows], np.int32)
    streams = self._streams(requests, identity_B2)
    return self._pad(rows, length), self.pad_rows(length_B, 1), *streams

  def _streams(self, requests, identity_B2):
    """Returns seeds, identities and RowSettings of `requests`, padded."""
    seed_B = np.array([request.seed % 2**32 for request in requests], np.uint32)
    return self.pad_rows(seed_B), self.pad_rows(identity_B2), self._settings(requests)

  def _settings(self, requests):
    rows = SamplingRows.of([request.sampling for request in requests])
    most = max(len(request.stop_ids) for request in requests)
    width = STOP_BUCKET * max(1, -(-most // STOP_BUCKET))
    stop_BI = np.full((len(requests), width), -1, np.int32)
    for i, request in enumerate(requests):
      stop_BI[i, : len(request.stop_ids)] = request.stop_ids
    largest = np.iinfo(np.int32).max
    new_B = np.array([min(r.max_new_tokens, largest) for r in requests], np.int32)
    has_log_probs_B = np.array([request.log_probs is not None for request in requests])
    settings = RowSettings(rows, new_B, stop_BI, has_log_probs_B)
    return jax.tree.map(self.pad_rows, settings)

  def _pad(self, rows, length):
    padded_BT = np.zeros((len(rows), length), np.int32)
    for i, ids in enumerate(rows):
      padded_BT[i, : len(ids)] = ids
    return self.pad_rows(padded_BT)

  def pad_rows(self, array_B, value=0):
    """Returns rows and, up to what the mesh divides, more of `value`."""
    # They ask for no token and hold one, 0.
    missing = -len(array_B) % (self.rules.num_shards('batch') if self.rules else 1)
    if not missing:
      return array_B
    filler = np.full((missing, *array_B.shape[1:]), value, array_B.dtype)
    return np.concatenate([array_B, filler])

  def _require_left_to_right(self):
    if self.visibility == 'bidirectional':
      raise ConfigError(
        'a bidirectional model (objective.name="masked_lm" or the like) cannot write or'
        ' score text from left to right; use its logits.'
      )

  def require_writable(self, requests):
    """Raises ConfigError for what the model cannot read, or never writes."""
    self._require_left_to_right()
    require_ids([request.prompt_ids for request in requests], self.vocab_limit)
    for request in requests:
      self._choice.require(request.adapter)
      for token_id, _ in request.sampling.logit_bias:
        if token_id >= self.text_limit:
          raise ConfigError(
            f'logit_bias: the id {token_id} is not there; expected ids from 0 to'
            f' {self.text_limit - 1}.'
          )

  def _check_length(self, what, length):
    """Raises ConfigError where positions end before `length` tokens are read."""
    if length > self.table_len:
      raise ConfigError(
        f'{what}: {length} tokens to read at once, but'
        f' {positions.describe_end(self.cfg, self.num_virtual)}; shorten the text, or'
        ' split it and add up the parts.'
      )
