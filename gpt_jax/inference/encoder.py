"""Texts as vectors: a model's stream over each whole text, pooled to one vector."""

import dataclasses
import functools
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose
from gpt_jax.inference import adapted
from gpt_jax.model import positions
from gpt_jax.model.output_layer import Pooler
from gpt_jax.parallel import multihost

MIN_LENGTH = 16  # shorter texts are padded to it
TOKENS_AT_ONCE = 8192
"""Of a batch, padding included: the stream of GPT-2's width takes 25 MB a layer."""


def _mean(x_BTD, length_B):
  is_real_BT = jnp.arange(x_BTD.shape[1]) < length_B[:, None]
  return (x_BTD * is_real_BT[..., None]).sum(1) / length_B[:, None]


def _first(x_BTD, length_B):
  del length_B
  return x_BTD[:, 0]


def _last(x_BTD, length_B):
  return jnp.take_along_axis(x_BTD, length_B[:, None, None] - 1, axis=1)[:, 0]


POOLINGS = {'mean': _mean, 'first': _first, 'last': _last, 'pooler': _first}
"""Each entry: `(x_BTD, length_B) -> [B, D]`, of a stream with padding on the right.
`pooler` is the model's own layer over the first token."""


class Encoder:
  """Makes vectors of texts; compiles one program for each length of a batch."""

  # Texts of like length go together, padded to a power of two, so few programs are
  # compiled; a text gets the same vector in any company, as padding is never seen.

  def __init__(self, config, params, tokenizer, rules=None):
    """Takes a Config with its `model.vocab_size`, and parameters as in training.

    `rules`: where the parameters lie on a mesh, those of decoding; None: on one device.
    """
    self._cfg, self._tokenizer, self._params = config.model, tokenizer, params
    self._rules = rules
    begin, end = config.data.begin_token, tokenizer.eos_id
    self._begin_ids = [tokenizer.special_id(begin)] if begin else []
    self._end_ids = [end] if config.data.append_eos and end is not None else []
    attend, adapter = adapted.make_model_parts(config)
    table_len = positions.max_positions(config.model)
    self._num_virtual = adapted.num_positions(adapter)
    self._table_len = None if table_len is None else table_len - self._num_virtual
    # The stream itself, without what an output layer makes of it.
    cfg = dataclasses.replace(config.model, head='none', head_bias=False, remat='none')
    self._pooled = jax.jit(
      functools.partial(
        _pooled,
        model=peft.make_gpt(adapter, cfg, attend, rules),
        visibility=objectives.describe(config).visibility,
      ),
      static_argnames='pooling',
    )
    self._said_cropping = False

  def encode(self, texts, max_tokens=None):
    """Returns the ids of each text as documents of the training have them, int32 [n].

    Texts lose their end to fit `max_tokens`, begin and end token included; None: what
    the model can read.
    """
    limit = self._limit(max_tokens)
    most = limit - len(self._begin_ids) - len(self._end_ids)
    if most < 1:
      raise ConfigError(
        f'max_tokens={limit}: leaves no token of a text beside begin and end token;'
        ' give more.'
      )
    encoded = self._tokenizer.encode_batch(texts)
    self._say_cropping(sum(len(ids) > most for ids in encoded), limit)
    rows = [
      np.array([*self._begin_ids, *ids[: min(len(ids), most)], *self._end_ids])
      for ids in encoded
    ]
    for i, ids in enumerate(rows):
      if not len(ids):
        raise ConfigError(f'text {i} is empty: it has no token; leave it out.')
    return [ids.astype(np.int32) for ids in rows]

  def embed(
    self, texts, pooling='mean', normalize=True, max_tokens=None, progress=None
  ):
    """Returns a vector for each text, float32 [N, D].

    Args:
      pooling: one of POOLINGS.
      normalize: to length 1, so that a product of two is their cosine.
      max_tokens: as of `encode`.
      progress: `(iterable, total) -> iterable` that displays a progress bar.
    """
    choose(POOLINGS, pooling, 'pooling')
    if pooling == 'pooler' and not self._cfg.pooler:
      raise ConfigError(
        'pooling="pooler": this model has no pooler (model.pooler=False); use "mean",'
        ' or "first", which reads the same token.'
      )
    rows = self.encode(texts, max_tokens)
    vectors_ND = np.zeros((len(rows), self._cfg.d_model), np.float32)
    for numbers, tokens_BT, length_B in self.batches(rows, progress):
      pooled_BD = self._pooled(self._params, tokens_BT, length_B, pooling=pooling)
      vectors_ND[numbers] = np.asarray(pooled_BD)[: len(numbers)]
    if normalize:
      norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
      vectors_ND /= np.maximum(norms_N1, 1e-12)
    return vectors_ND

  @property
  def limit(self):
    """How many tokens of a text are read, begin and end token included."""
    return self._limit(None)

  def compile_all(self, max_tokens=None, pooling='mean'):
    """Runs the program of one text of each length once: none of these waits then."""
    for tokens_BT, length_B in self.of_each_length(max_tokens):
      self._pooled(self._params, tokens_BT, length_B, pooling=pooling)

  def of_each_length(self, max_tokens=None):
    """Yields (ids [1, T], lengths [1]) of one text for each T that there is."""
    limit, length = self._limit(max_tokens), 0
    while length < limit:
      length = min(max(MIN_LENGTH, 2 * length), limit)
      yield self._padded([np.zeros(length, np.int32)])

  def batches(self, rows, progress=None):
    """Yields (numbers of `rows`, ids [B, T], lengths [B]) of rows of like length."""
    batches = list(_batches([len(ids) for ids in rows]))
    for numbers in progress(batches, len(batches)) if progress else batches:
      yield numbers, *self._padded([rows[i] for i in numbers])

  def _limit(self, max_tokens):
    table_len = self._table_len
    limit = math.inf if table_len is None else table_len
    if max_tokens is None:
      return self._cfg.max_seq_len if table_len is None else table_len
    if max_tokens > limit:
      raise ConfigError(
        f'max_tokens={max_tokens}:'
        f' {positions.describe_end(self._cfg, self._num_virtual)}; ask for at most'
        f' {limit}.'
      )
    return max_tokens

  def _padded(self, rows):
    """Returns (ids [B, T], lengths [B]); both sizes are of few kinds."""
    shards = self._rules.num_shards('batch') if self._rules else 1
    size = -(-(1 << (len(rows) - 1).bit_length()) // shards) * shards
    tokens_BT = np.zeros((size, _padded_length(max(map(len, rows)))), np.int32)
    length_B = np.ones(size, np.int32)
    for i, ids in enumerate(rows):
      tokens_BT[i, : len(ids)], length_B[i] = ids, len(ids)
    # Where the positions end before the next power of two.
    return tokens_BT[:, : self._table_len], length_B

  def _say_cropping(self, count, limit):
    if not count or self._said_cropping or not multihost.is_primary():
      return
    self._said_cropping = True
    print(
      f'embed: {count} text(s) have more than {limit} tokens; what comes after is not'
      ' read.',
      file=sys.stderr,
    )


def _batches(lengths):
  """Yields numbers of texts that go together, of about TOKENS_AT_ONCE with padding."""
  groups: dict[int, list[int]] = {}
  for i, length in enumerate(lengths):
    groups.setdefault(_padded_length(length), []).append(i)
  for length, numbers in sorted(groups.items()):
    size = max(1, TOKENS_AT_ONCE // length)
    for start in range(0, len(numbers), size):
      yield numbers[start : start + size]


def _padded_length(length):
  return max(MIN_LENGTH, 1 << (length - 1).bit_length())


def _pooled(params, tokens_BT, length_B, *, model, visibility, pooling):
  """Returns float32 [B, D] of rows whose first `length_B` tokens are real."""
  is_real_BT = jnp.arange(tokens_BT.shape[1])[None] < length_B[:, None]
  segments_BT = is_real_BT.astype(jnp.int32)
  if visibility == 'prefix':  # all of the text is given
    mask = masks.prefix(length_B, segments_BT)
  elif visibility == 'bidirectional':
    mask = masks.bidirectional(segments_BT)
  else:
    mask = masks.causal(segments_BT)
  x_BTD, _, _ = model.apply({'params': params}, tokens_BT, mask, method='hidden')
  if pooling == 'pooler':
    pooled_BD: Any = Pooler(model.cfg).apply({'params': params['pooler']}, x_BTD)
    return pooled_BD.astype(jnp.float32)
  return POOLINGS[pooling](x_BTD.astype(jnp.float32), length_B)
