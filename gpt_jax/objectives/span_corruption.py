"""Replace random spans by sentinels, then predict the list of what was removed.

T5's objective (arXiv:1910.10683, section 3.1.4) for a decoder-only model, in one row:

  text    the cat sat on the mat and slept
  row     the <0> on the <1> slept   <0> cat sat <1> mat and <2>
          seen in both directions    predicted from left to right

Shapes are static, the positions of the spans uniformly random. Document boundaries in a
row are ignored, padding bears no loss.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.objectives.example import Example, Objective, split

_SPARES_NONE = (
  'span_corruption removes spans anywhere and cannot spare tokens without loss; use'
  ' prefix_lm or causal_lm'
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """Lengths of every row, in tokens. Sentinel i has id `vocab.size + i`."""

  num_text: int
  num_noise: int
  num_spans: int

  @property
  def prefix_len(self):
    """Length of the corrupted text, sentinels included."""
    return self.num_text - self.num_noise + self.num_spans

  @property
  def row_len(self):
    """Corrupted text, then the list: each sentinel with its span, and a closing one."""
    return self.prefix_len + self.num_noise + self.num_spans + 1

  @property
  def num_sentinels(self):
    return self.num_spans + 1


def problems(config):
  """Returns the Problems of a Config whose data have tokens without loss."""
  if not config.data.prompt_field:
    return []
  text = f'={config.data.prompt_field!r}: {_SPARES_NONE}'
  return [Problem('data.prompt_field', text)]


@registry.entry(problems=problems)
def make(cfg, *, vocab, seq_len):
  """Returns the span objective; loss falls on the list after the corrupted text.

  A row holds less text than a sample because of the sentinels: the rest goes unused.
  Raises ConfigError when `span_density` or `seq_len` admits no span.
  """
  layout = make_layout(cfg, seq_len)

  def build(batch, rng):
    tokens_BN = batch['tokens']
    if 'loss_mask' in batch:
      raise ConfigError(f'objective.name="span_corruption": {_SPARES_NONE}.')
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
  """Returns lengths [B, spans + 1] of the kept and the removed pieces, alternating."""
  # The first and last kept piece may be empty, the last removed one is. (T5's own code
  # ends every text with a span; here short rows, with one span, vary too.)
  keep_rng, remove_rng = jax.random.split(rng)
  num_kept = layout.num_text - layout.num_noise
  kept_BJ = _random_parts(keep_rng, num_rows, num_kept + 2, layout.num_spans + 1)
  kept_BJ = kept_BJ.at[:, jnp.array([0, -1])].add(-1)
  removed_BI = _random_parts(remove_rng, num_rows, layout.num_noise, layout.num_spans)
  return kept_BJ, jnp.pad(removed_BI, ((0, 0), (0, 1)))


def _random_parts(rng, num_rows, total, num_parts):
  """Returns [B, num_parts] positive integers that sum to `total`, uniformly random."""
  inner = jnp.tile(jnp.arange(1, total), (num_rows, 1))
  cuts = jax.random.permutation(rng, inner, axis=1, independent=True)
  cuts = jnp.sort(cuts[:, : num_parts - 1], axis=1)
  return jnp.diff(jnp.pad(cuts, ((0, 0), (1, 0))), append=total, axis=1)


def _arrange(layout, kept_BJ, removed_BJ):
  """Returns (text index, sentinel number or -1) of each position of the row, [B, M]."""
  # A sentinel's text index is the first token of its span, which says whether it stands
  # for padding; the closing one's is the last token of the text.
  index_J = jnp.arange(layout.num_sentinels)
  kept_before_BJ = jnp.cumsum(kept_BJ, axis=1) - kept_BJ
  removed_before_BJ = jnp.cumsum(removed_BJ, axis=1) - removed_BJ
  kept_start_BJ = kept_before_BJ + removed_before_BJ
  span_start_BJ = kept_start_BJ + kept_BJ

  # Corrupted text: each kept piece, then the sentinel of the span that follows it.
  part_BP, offset_BP = _locate(kept_before_BJ + index_J, layout.prefix_len)
  is_sentinel_BP = offset_BP == _pick(kept_BJ, part_BP)
  text_BP = _pick(kept_start_BJ, part_BP) + offset_BP
  # List: each sentinel, then its span; the closing sentinel has none.
  list_len = layout.row_len - layout.prefix_len
  part_BQ, ahead_BQ = _locate(removed_before_BJ + index_J, list_len)
  text_BQ = _pick(span_start_BJ, part_BQ) + jnp.maximum(ahead_BQ - 1, 0)

  text_BM = jnp.concatenate([text_BP, text_BQ], axis=1)
  part_BM = jnp.concatenate([part_BP, part_BQ], axis=1)
  is_sentinel_BM = jnp.concatenate([is_sentinel_BP, ahead_BQ == 0], axis=1)
  last = layout.num_text - 1
  return jnp.minimum(text_BM, last), jnp.where(is_sentinel_BM, part_BM, -1)


def _locate(begin_BI, length):
  """Returns (part, offset in it) of each position; part i begins at `begin_BI`."""
  position_P = jnp.arange(length)
  search = jax.vmap(lambda begin_I: jnp.searchsorted(begin_I, position_P, side='right'))
  part_BP = search(begin_BI) - 1
  return part_BP, position_P - _pick(begin_BI, part_BP)


def _pick(values_BI, index_BP):
  return jnp.take_along_axis(values_BI, index_BP, axis=1)


def _example(layout, seq_len, row_BM, segments_BM):
  padding = ((0, 0), (0, seq_len + 1 - layout.row_len))
  inputs_BT, targets_BT = split(jnp.pad(row_BM, padding))
  # From the last token of the corrupted text to the last but one of the list.
  position_T = jnp.arange(seq_len)
  is_list_T = (position_T >= layout.prefix_len - 1) & (position_T < layout.row_len - 1)
  weights_BT = jnp.broadcast_to(is_list_T, inputs_BT.shape).astype(jnp.float32)
  segments_BT = None
  if segments_BM is not None:
    segments_BT, next_segments_BT = split(jnp.pad(segments_BM, padding))
    # A text shorter than its layout leaves padding before the list, which sees nothing
    # and would have to predict the first sentinel.
    weights_BT *= segments_BT * next_segments_BT
  prefix_B = jnp.full(inputs_BT.shape[0], layout.prefix_len, jnp.int32)
  return Example(
    inputs_BT=inputs_BT,
    targets_BT=targets_BT,
    weights_BT=weights_BT,
    mask=masks.prefix(prefix_B, segments_BT),
  )
