"""Replace random spans by sentinels, then predict the list of what was taken out.

T5's objective (arXiv:1910.10683, section 3.1.4) laid out for a decoder, in one row:

  text    the cat sat on the mat and slept
  row     the <0> on the <1> slept   <0> cat sat <1> mat and <2>
          seen in both directions    predicted from left to right

All shapes are static: a row always holds the same number of text tokens, of tokens
taken out and of spans; only where the spans lie is random, each way to lay them apart
being equally likely. (T5's own code ends every text with a span; here short rows, with
one span, vary too.) A row is read as one stream: borders of documents inside it are
ignored, padding bears no loss.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives.example import Example, Objective, split


@dataclasses.dataclass(frozen=True)
class Layout:
  """Static lengths of a row, in tokens. Sentinel i has id `vocab.size + i`."""

  num_text: int
  num_noise: int
  num_spans: int

  @property
  def prefix_len(self):
    """Tokens of the corrupted text, sentinels included."""
    return self.num_text - self.num_noise + self.num_spans

  @property
  def row_len(self):
    """Corrupted text, then the list: spans with their sentinels and a closing one."""
    return self.prefix_len + self.num_noise + self.num_spans + 1

  @property
  def num_sentinels(self):
    return self.num_spans + 1


def make(cfg, *, vocab, seq_len):
  """Returns the span objective; loss falls on the list after the corrupted text.

  A row holds less text than a sample, since sentinels take room: what is left of the
  sample goes unused. The row is filled up with at most two tokens that bear no loss.
  Raises ConfigError when `span_density` or `seq_len` leaves no room for a span.
  """
  layout = make_layout(cfg, seq_len)

  def build(batch, rng):
    tokens_BN = batch['tokens']
    source_BM, sentinel_BM = _arrange(
      layout, *_random_spans(layout, rng, len(tokens_BN))
    )
    row_BM = jnp.where(
      sentinel_BM >= 0,
      vocab.size + sentinel_BM,
      jnp.take_along_axis(tokens_BN, source_BM, axis=1),
    ).astype(tokens_BN.dtype)
    segments_BM = None
    if 'segments' in batch:
      is_text_BM = jnp.take_along_axis(batch['segments'], source_BM, axis=1) != 0
      segments_BM = is_text_BM.astype(jnp.int32)
    return _example(layout, seq_len, row_BM, segments_BM)

  return Objective(build, extra_tokens=layout.num_sentinels, visibility='prefix')


def make_layout(cfg, seq_len):
  """Returns the `Layout` with the most text that fits a sample of `seq_len` + 1."""
  if not 0 < cfg.span_density < 1:
    raise ConfigError(
      f'objective.span_density={cfg.span_density}: expected between 0 and 1, such as'
      ' 0.15.'
    )
  for num_text in range(seq_len, 1, -1):
    num_noise = min(max(round(num_text * cfg.span_density), 1), num_text - 1)
    num_spans = max(round(num_noise / cfg.span_mean), 1)
    num_spans = min(num_spans, num_noise, num_text - num_noise + 1)
    layout = Layout(num_text, num_noise, num_spans)
    if layout.row_len <= seq_len + 1:
      return layout
  raise ConfigError(
    f'data.seq_len={seq_len}: too short for span_corruption; expected at least 4.'
  )


def _random_spans(layout, rng, num_rows):
  """Returns lengths [B, J] of kept and of dropped stretches, J = spans + 1.

  They alternate; the first and the last kept one may be empty, the last dropped one is.
  """
  keep_rng, drop_rng = jax.random.split(rng)
  num_kept = layout.num_text - layout.num_noise
  kept_BJ = _random_parts(keep_rng, num_rows, num_kept + 2, layout.num_spans + 1)
  kept_BJ = kept_BJ.at[:, jnp.array([0, -1])].add(-1)
  dropped_BI = _random_parts(drop_rng, num_rows, layout.num_noise, layout.num_spans)
  return kept_BJ, jnp.pad(dropped_BI, ((0, 0), (0, 1)))


def _random_parts(rng, num_rows, total, num_parts):
  """Returns uniform random ways to write `total` as `num_parts` positive terms."""
  inner = jnp.tile(jnp.arange(1, total), (num_rows, 1))
  cuts = jax.random.permutation(rng, inner, axis=1, independent=True)
  cuts = jnp.sort(cuts[:, : num_parts - 1], axis=1)
  return jnp.diff(jnp.pad(cuts, ((0, 0), (1, 0))), append=total, axis=1)


def _arrange(layout, kept_BJ, dropped_BJ):
  """Returns (text index, sentinel number or -1) for each place of the row, [B, M].

  A sentinel's text index is the first token of its span, which tells whether it
  stands for padding; the closing one's is the last token of the text.
  """
  index_J = jnp.arange(layout.num_sentinels)
  kept_before_BJ = jnp.cumsum(kept_BJ, axis=1) - kept_BJ
  dropped_before_BJ = jnp.cumsum(dropped_BJ, axis=1) - dropped_BJ
  kept_start_BJ = kept_before_BJ + dropped_before_BJ
  span_start_BJ = kept_start_BJ + kept_BJ

  # Corrupted text: each kept stretch, then the sentinel of the span that follows it.
  part_BP, offset_BP = _locate(kept_before_BJ + index_J, layout.prefix_len)
  is_sentinel_BP = offset_BP == _pick(kept_BJ, part_BP)
  text_BP = _pick(kept_start_BJ, part_BP) + offset_BP
  # List: each sentinel, then its span; the closing sentinel has none.
  list_len = layout.row_len - layout.prefix_len
  part_BQ, ahead_BQ = _locate(dropped_before_BJ + index_J, list_len)
  text_BQ = _pick(span_start_BJ, part_BQ) + jnp.maximum(ahead_BQ - 1, 0)

  text_BM = jnp.concatenate([text_BP, text_BQ], axis=1)
  part_BM = jnp.concatenate([part_BP, part_BQ], axis=1)
  is_sentinel_BM = jnp.concatenate([is_sentinel_BP, ahead_BQ == 0], axis=1)
  last = layout.num_text - 1
  return jnp.minimum(text_BM, last), jnp.where(is_sentinel_BM, part_BM, -1)


def _locate(begin_BI, num_places):
  """Returns (part, offset in it) of each place, where part i begins at `begin_BI`."""
  place_P = jnp.arange(num_places)
  search = jax.vmap(lambda begin_I: jnp.searchsorted(begin_I, place_P, side='right'))
  part_BP = search(begin_BI) - 1
  return part_BP, place_P - _pick(begin_BI, part_BP)


def _pick(values_BI, index_BP):
  return jnp.take_along_axis(values_BI, index_BP, axis=1)


def _example(layout, seq_len, row_BM, segments_BM):
  padding = ((0, 0), (0, seq_len + 1 - layout.row_len))
  inputs_BT, targets_BT = split(jnp.pad(row_BM, padding))
  # From the last token of the corrupted text to the last but one of the list.
  place_T = jnp.arange(seq_len)
  is_list_T = (place_T >= layout.prefix_len - 1) & (place_T < layout.row_len - 1)
  weights_BT = jnp.broadcast_to(is_list_T, inputs_BT.shape).astype(jnp.float32)
  segments_BT = None
  if segments_BM is not None:
    segments_BT, next_segments_BT = split(jnp.pad(segments_BM, padding))
    weights_BT *= next_segments_BT
  prefix_B = jnp.full(inputs_BT.shape[0], layout.prefix_len, jnp.int32)
  return Example(
    inputs_BT=inputs_BT,
    targets_BT=targets_BT,
    weights_BT=weights_BT,
    mask=masks.prefix(prefix_B, segments_BT),
  )
