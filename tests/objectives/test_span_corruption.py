"""T5's spans: rows put together again give the text, shares are as published."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import Vocab, span_corruption
from gpt_jax.program import setup

CFG = load.resolve(base.get_config()).objective
SIZE = 1000


def corrupt(tokens, seed=0, segments=None, **fields):
  cfg, seq_len = dataclasses.replace(CFG, **fields), tokens.shape[1] - 1
  objective = span_corruption.make(cfg, vocab=Vocab(SIZE), seq_len=seq_len)
  batch = (
    dict(tokens=tokens) if segments is None else dict(tokens=tokens, segments=segments)
  )
  example = jax.jit(objective)(batch, jax.random.key(seed))
  layout = span_corruption.make_layout(cfg, seq_len)
  return jax.tree.map(np.asarray, example), layout


def text(rows, seq_len):
  shape = (rows, seq_len + 1)
  return np.random.default_rng(1).integers(0, SIZE, shape).astype(np.int32)


def restore(example, layout, row):
  """Reads one row as a decoder would: returns (text, [span, ...])."""
  inputs = example.inputs_BT[row]
  answer = example.targets_BT[row][example.weights_BT[row] == 1].tolist()
  assert answer[-1] == SIZE + layout.num_spans
  spans = []
  for token in answer[:-1]:
    if token >= SIZE:
      assert token == SIZE + len(spans)
      spans.append([])
    else:
      spans[-1].append(token)
  restored, used = [], 0
  for token in inputs[: layout.prefix_len].tolist():
    if token >= SIZE:
      assert token == SIZE + used
      restored += spans[used]
      used += 1
    else:
      restored.append(token)
  assert used == len(spans) == layout.num_spans
  return restored, spans


@pytest.mark.parametrize('seq_len', [4, 5, 9, 64, 257])
def test_inputs_and_targets_together_are_the_text(seq_len):
  tokens = text(16, seq_len)
  example, layout = corrupt(tokens)
  for row in range(16):
    restored, spans = restore(example, layout, row)
    assert restored == tokens[row, : layout.num_text].tolist()
    assert all(spans) and sum(map(len, spans)) == layout.num_noise


@pytest.mark.parametrize('seq_len', [128, 512, 2048])
def test_fifteen_percent_in_spans_of_three_fill_the_row(seq_len):
  layout = span_corruption.make_layout(CFG, seq_len)
  assert abs(layout.num_noise / layout.num_text - 0.15) < 0.01
  assert abs(layout.num_noise / layout.num_spans - 3) < 0.2
  assert 0 <= seq_len + 1 - layout.row_len <= 2


def test_density_and_mean_span_can_be_chosen():
  layout = span_corruption.make_layout(
    dataclasses.replace(CFG, span_density=0.5, span_mean=8.0), 512
  )
  assert abs(layout.num_noise / layout.num_text - 0.5) < 0.01
  assert abs(layout.num_noise / layout.num_spans - 8) < 0.3


def test_spans_differ_between_rows_and_seeds_and_lie_anywhere():
  tokens = np.tile(np.arange(129)[None], (400, 1))
  example, layout = corrupt(tokens)
  other, _ = corrupt(tokens, seed=1)
  assert not np.array_equal(example.inputs_BT, other.inputs_BT)
  hidden = np.zeros(layout.num_text)
  lengths = []
  for row in range(400):
    _, spans = restore(example, layout, row)
    hidden[np.concatenate(spans).astype(int)] += 1
    lengths += [len(span) for span in spans]
  assert np.mean(lengths) == layout.num_noise / layout.num_spans
  assert max(lengths) >= 6 and min(lengths) == 1
  # Away from the edges, over which no span can reach, each token is hidden as often as
  # any other.
  assert 0 < hidden[0] < 60 and 0 < hidden[-1] < 60
  inner = hidden[10:-10] / 400
  assert abs(inner.mean() - 0.15) < 0.02 and inner.min() > 0.05 and inner.max() < 0.3


def test_the_only_span_of_a_short_row_lies_anywhere():
  tokens = np.tile(np.arange(17)[None], (200, 1))
  example, layout = corrupt(tokens)
  assert layout.num_spans == 1
  starts = {restore(example, layout, row)[1][0][0] for row in range(200)}
  assert starts == set(range(layout.num_text - layout.num_noise + 1))


def test_the_corrupted_text_is_a_bidirectional_prefix():
  example, layout = corrupt(text(2, 32))
  p = layout.prefix_len
  allowed = np.asarray(example.mask.allowed(32, 32)[0])
  assert allowed[:, :p].all()
  np.testing.assert_array_equal(allowed[:, p:], np.tri(32, dtype=bool)[:, p:])
  scored = np.flatnonzero(example.weights_BT[0])
  np.testing.assert_array_equal(scored, np.arange(p - 1, layout.row_len - 1))


def test_only_sentinels_and_spans_of_real_text_bear_loss():
  tokens, real = text(32, 64), 20
  segments = np.broadcast_to(np.arange(65) < real, tokens.shape).astype(np.int32)
  marked = np.where(segments == 0, SIZE - 1, 7)
  example, layout = corrupt(marked, segments=segments)
  inputs, targets = example.inputs_BT, example.targets_BT
  scored = example.weights_BT == 1
  assert not np.any(targets[scored] == SIZE - 1)
  # What is scored and what is kept are together the real text, in every row.
  kept = (inputs[:, : layout.prefix_len] == 7).sum(1)
  np.testing.assert_array_equal(kept + ((targets == 7) & scored).sum(1), real)
  assert not np.any(targets[scored] == SIZE + layout.num_spans)


@pytest.mark.parametrize(
  'seq_len, density, field',
  [(3, 0.15, 'data.seq_len=3'), (64, 1.0, 'span_density=1.0')],
)
def test_rows_too_short_for_a_span_are_refused(seq_len, density, field):
  with pytest.raises(ConfigError, match=field):
    span_corruption.make_layout(dataclasses.replace(CFG, span_density=density), seq_len)


def test_data_with_tokens_without_loss_are_refused():
  overrides = {'objective.name': 'span_corruption', 'data.prompt_field': 'q'}
  overrides |= {'data.source': 'jsonl', 'data.response_field': 'a'}
  with pytest.raises(ConfigError, match="data.prompt_field='q': span_corr.*prefix_lm"):
    setup.resolve(base.get_config(), overrides)
