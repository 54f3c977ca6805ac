"""Replace random spans by sentinels, then predict the list of what was taken out.

T5's objective (arXiv:1910.10683, section 3.1.4) laid out for a decoder, in one row:

  text    the cat sat on the mat and slept
  row     the <0> on the mat <1>   <0> cat sat <1> and slept <2>
          seen in both directions  predicted from left to right

All shapes are static: a row of `seq_len` tokens always holds the same number of text
tokens, of tokens taken out and of spans; only where the spans lie is random. A row is
read as one stream: borders of documents inside it are ignored, padding bears no loss.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.errors import ConfigError
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

  return Objective(build, extra_tokens=layout.num_sentinels)


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
    num_spans = min(num_spans, num_noise, num_text - num_noise)
    layout = Layout(num_text, num_noise, num_spans)
    if layout.row_len <= seq_len + 1:
      return layout
  raise ConfigError(
    f'data.seq_len={seq_len}: too short for span_corruption; expected at least 4.'
  )


def _random_spans(layout, rng, num_rows):
  """Returns lengths [B, I] of kept and of dropped stretches, which alternate."""
  keep_rng, drop_rng = jax.random.split(rng)
  num_kept = layout.num_text - layout.num_noise
  return (
    _random_parts(keep_rng, num_rows, num_kept, layout.num_spans),
    _random_parts(drop_rng, num_rows, layout.num_noise, layout.num_spans),
  )


def _random_parts(rng, num_rows, total, num_parts):
  """Returns uniform random ways to write `total` as `num_parts` positive terms."""
  inner = jnp.tile(jnp.arange(1, total), (num_rows, 1))
  cuts = jax.random.permutation(rng, inner, axis=1, independent=True)
  cuts = jnp.sort(cuts[:, : num_parts - 1], axis=1)
  return jnp.diff(jnp.pad(cuts, ((0, 0), (1, 0))), append=total, axis=1)


def _arrange(layout, kept_BI, dropped_BI):
  """Returns (text index, sentinel number or -1) for each place of the row, [B, M].

  A sentinel's text index is the first token of its span, which tells whether it
  stands for padding; the closing one's is the last token of the text.
  """
  index_I = jnp.arange(layout.num_spans)
  kept_before_BI = jnp.cumsum(kept_BI, axis=1) - kept_BI
  dropped_before_BI = jnp.cumsum(dropped_BI, axis=1) - dropped_BI
  kept_start_BI = kept_before_BI + dropped_before_BI
  span_start_BI = kept_start_BI + kept_BI

  # Corrupted text: each kept stretch, then the sentinel of the span it lost.
  i_BP, offset_BP = _locate(kept_before_BI + index_I, layout.prefix_len)
  is_sentinel_BP = offset_BP == _pick(kept_BI, i_BP)
  text_BP = jnp.where(
    is_sentinel_BP, _pick(span_start_BI, i_BP), _pick(kept_start_BI, i_BP) + offset_BP
  )
  # List: each sentinel, then its span.
  j_BQ, ahead_BQ = _locate(
    dropped_before_BI + index_I, layout.num_noise + layout.num_spans
  )
  text_BQ = _pick(span_start_BI, j_BQ) + jnp.maximum(ahead_BQ - 1, 0)

  closing_B1 = jnp.ones_like(kept_BI[:, :1])
  source_BM = jnp.concatenate(
    [text_BP, text_BQ, closing_B1 * (layout.num_text - 1)], axis=1
  )
  sentinel_BM = jnp.concatenate(
    [
      jnp.where(is_sentinel_BP, i_BP, -1),
      jnp.where(ahead_BQ == 0, j_BQ, -1),
      closing_B1 * layout.num_spans,
    ],
    axis=1,
  )
  return source_BM, sentinel_BM


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
