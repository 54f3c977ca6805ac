"""Log-likelihoods of many continuations at once, what they share read once.

Texts that begin alike lie in one row as a tree (`packing.py`, `TreeMask`): answers
after their question, questions after the same examples. Logits are made where a token
is predicted and nowhere else, some places at a time.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import peft
from gpt_jax.attention import dense, masks, scale_and_softcap
from gpt_jax.attention.shared_prefix import TreeMask
from gpt_jax.core.matmul import einsum
from gpt_jax.inference import packing
from gpt_jax.inference.sampling import real_logits
from gpt_jax.model.output_layer import scale_and_cap_logits

LOGITS_BYTES = 2**27
"""Float32 logits made at once."""
BATCH_TOKENS = {'cpu': 2**11}
"""Tokens of a batch, where a row is not longer; elsewhere 2**14."""
LONGEST_TREE = 2**11
"""Tokens of a row up to which the dense kernel reads trees; longer texts are scored one
by one with the kernel of the config, as its scores grow with the square."""


class Score(NamedTuple):
  """How likely a continuation is after its context."""

  log_prob: float
  """Nats, the sum over its tokens."""
  num_tokens: int
  is_greedy: bool
  """Whether each token is the likeliest one, of equal ones the lowest id."""


def total(scores):
  """Returns the Score of texts one after another."""
  scores = list(scores)
  return Score(
    float(sum(score.log_prob for score in scores)),
    sum(score.num_tokens for score in scores),
    all(score.is_greedy for score in scores),
  )


def score_places(
  params, tokens_BT, positions_BT, end_BT, prefix_end_BT, place_P, num_places,
  pair_N, target_N, *, model, vocab_limit, reads_prefix, is_tree,
):  # fmt: skip
  """Returns (log-probability [N], whether it is the likeliest [N]) of `target_N`.

  `place_P`: flat indices of the first `num_places` tokens that predict one; `pair_N`:
  which of them predicts each target. Not `is_tree`: each row holds one text.
  """
  if is_tree:
    prefix_end_BT = prefix_end_BT if reads_prefix else None
    mask = TreeMask(
      positions_BT=positions_BT, end_BT=end_BT, prefix_end_BT=prefix_end_BT
    )
  else:
    mask = masks.prefix(prefix_end_BT[:, 0]) if reads_prefix else masks.causal()
  x_BTD, head_VD, _ = model.apply(
    {'params': params}, tokens_BT, mask, positions_BT, method='hidden'
  )
  D = x_BTD.shape[-1]
  x_PD = x_BTD.reshape(-1, D)[place_P]
  head_VD = head_VD.astype(x_PD.dtype)
  bias_V = params['head_bias'] if model.cfg.head_bias else jnp.zeros(len(head_VD))

  def chunk_sums(i, sums):
    x_CD = jax.lax.dynamic_slice_in_dim(x_PD, i * chunk, chunk)
    logits_CV = einsum('CD,VD->CV', x_CD, head_VD, jnp.float32) + bias_V
    logits_CV = scale_and_cap_logits(model.cfg, logits_CV)
    logits_CV = real_logits(logits_CV, vocab_limit)
    best_C = jnp.argmax(logits_CV, axis=-1).astype(jnp.int32)
    found = jax.nn.logsumexp(logits_CV, axis=-1), best_C
    return jax.tree.map(
      lambda all_P, new_C: jax.lax.dynamic_update_slice_in_dim(
        all_P, new_C, i * chunk, 0
      ),
      sums,
      found,
    )

  P = len(place_P)
  chunk = _chunk(P, model.cfg.vocab_size)
  sums = jnp.zeros(P, jnp.float32), jnp.zeros(P, jnp.int32)
  sums = jax.lax.fori_loop(0, -(-num_places // chunk), chunk_sums, sums)
  # The logit of a target by itself: a place may predict several.
  logits_N = einsum('ND,ND->N', x_PD[pair_N], head_VD[target_N], jnp.float32)
  logits_N += bias_V[target_N]
  logits_N = scale_and_cap_logits(model.cfg, logits_N)
  return logits_N - sums[0][pair_N], sums[1][pair_N] == target_N


def _chunk(num_places, vocab_size):
  """Returns how many places get their logits at once, a power of two."""
  most = max(1, LOGITS_BYTES // (4 * vocab_size))
  return min(num_places, 1 << (most.bit_length() - 1))


class Scorer:
  """Scores continuations with one model; compiles at the first call.

  Few programs: a number of rows and their length are powers of two, and what lies in
  them is data.
  """

  def __init__(self, cfg, attend, rules, *, vocab_limit, visibility, adapter=None):
    """Takes what `Engine` has: an unrolled ModelConfig, its kernel, decoding rules."""
    self._shards = rules.num_shards('batch') if rules else 1
    self._reads_prefix = visibility == 'prefix'
    scale, softcap = scale_and_softcap(attend)
    tree = functools.partial(dense.attend, scale=scale, softcap=softcap)
    self._programs = {
      is_tree: jax.jit(
        functools.partial(
          score_places,
          model=peft.make_gpt(adapter, cfg, kernel, rules),
          vocab_limit=vocab_limit,
          reads_prefix=self._reads_prefix,
          is_tree=is_tree,
        )
      )
      for is_tree, kernel in ((True, tree), (False, attend))
    }

  def score(self, params, texts_ids, context_lens, advance=lambda count: None):
    """Returns the Score of what follows the first `context_lens` ids of each text.

    `advance(count)` is told of texts whose last token was scored.
    """
    log_probs_I = np.zeros(len(texts_ids))  # float64: a text adds up many small terms
    num_greedy_I = np.zeros(len(texts_ids), int)
    context_lens = np.asarray(context_lens, int)
    num_tokens_I = np.array([len(ids) for ids in texts_ids], int) - context_lens
    advance(int((num_tokens_I == 0).sum()))
    for is_tree, rows, index in self._batches(texts_ids, context_lens):
      text_N = index[rows.pair_text_N]
      log_prob_N, is_best_N = self._run(params, rows, is_tree)
      np.add.at(log_probs_I, text_N, log_prob_N.astype(np.float64))
      np.add.at(num_greedy_I, text_N, is_best_N)
      advance(len(np.unique(text_N)))
    columns = zip(log_probs_I, num_tokens_I, num_greedy_I, strict=True)
    return [Score(float(p), int(n), bool(n == greedy)) for p, n, greedy in columns]

  def _batches(self, texts_ids, context_lens):
    """Yields (whether they are trees, Rows of a batch, index of each of its texts)."""
    # Nothing is read where nothing is to be predicted.
    is_read = np.array([len(ids) for ids in texts_ids]) > context_lens
    lengths = np.array([len(ids) - 1 for ids in texts_ids])
    kinds = np.array([packing.row_length(length) for length in lengths])
    batch_tokens = BATCH_TOKENS.get(jax.default_backend(), 2**14)
    for row_len in sorted(set(kinds[is_read])):
      index = np.flatnonzero(is_read & (kinds == row_len))
      is_tree = bool(row_len <= LONGEST_TREE)
      # Texts that are no tree lie in rows of their own.
      for part in [index] if is_tree else index[:, None]:
        rows = packing.pack(
          [texts_ids[i] for i in part],
          [context_lens[i] for i in part],
          min(row_len, packing.bucket(lengths[part].sum())),
          shares_contexts_only=self._reads_prefix,
        )
        for batch in rows.batches(max(1, batch_tokens // row_len)):
          yield is_tree, batch, part

  def _run(self, params, rows, is_tree):
    """Returns (log-probabilities, whether each is the likeliest) of `rows`, numpy."""
    place_P, pair_N = np.unique(rows.pair_place_N, return_inverse=True)
    N = len(pair_N)
    arrays = [_pad(array_BT, self._num_rows(len(array_BT))) for array_BT in rows[:4]]
    num_tokens = arrays[0].size
    log_prob_N, is_best_N = self._programs[is_tree](
      params, *arrays, _pad(place_P, num_tokens), len(place_P),
      *(_pad(a, packing.bucket(max(N, num_tokens))) for a in (pair_N, rows.target_N)),
    )  # fmt: skip
    return np.asarray(log_prob_N)[:N], np.asarray(is_best_N)[:N]

  def _num_rows(self, count):
    power = 1 << (count - 1).bit_length()
    return power + -power % self._shards


def _pad(array, length):
  """Returns int32 `array` with zeros up to `length` along its first axis."""
  padded = np.zeros((length, *array.shape[1:]), np.int32)
  padded[: len(array)] = array
  return padded
