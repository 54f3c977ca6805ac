"""The map of ranks: which layer a matrix is of, its metrics, the picture."""

import numpy as np

from gpt_jax.peft import rank_map

SCANNED = {
  'layers/block_0/attention/query': np.array([3, 5]),
  'layers/block_0/mlp/up': np.array([0, 12]),
}
UNROLLED = {
  'layers_0/block_0/attention/query': np.array([3]),
  'layers_0/block_0/mlp/up': np.array([0]),
  'layers_1/block_0/attention/query': np.array([5]),
  'layers_1/block_0/mlp/up': np.array([12]),
}
TABLE = {'attention/query': {0: 3, 1: 5}, 'mlp/up': {0: 0, 1: 12}}


def test_scanned_and_unrolled_layers_have_one_map():
  assert rank_map.by_layer(SCANNED) == TABLE
  assert rank_map.by_layer(UNROLLED) == TABLE


def test_blocks_of_a_cycle_are_layers_in_turn():
  ranks = {
    'layers/block_0/mlp/up': np.array([1, 3]),
    'layers/block_1/mlp/up': np.array([2, 4]),
    'layers/block_1/mlp/gate': np.array([7, 8]),
  }
  assert rank_map.by_layer(ranks) == {
    'mlp/up': {0: 1, 1: 2, 2: 3, 3: 4}, 'mlp/gate': {1: 7, 3: 8},
  }  # fmt: skip


def test_metrics_name_target_and_layer():
  assert rank_map.metrics(TABLE) == {
    'ranks/attention/query/layer_0': 3.0, 'ranks/attention/query/layer_1': 5.0,
    'ranks/mlp/up/layer_0': 0.0, 'ranks/mlp/up/layer_1': 12.0,
  }  # fmt: skip


def test_the_picture_has_each_rank_in_its_cell(tmp_path):
  figure = rank_map.draw(TABLE | {'mlp/gate': {1: 7}}, 'a run')
  axis = figure.axes[0]
  assert [text.get_text() for text in axis.texts] == ['3', '0', '5', '12', '7']
  assert [tick.get_text() for tick in axis.get_yticklabels()] == ['1', '2']
  path = rank_map.save(TABLE, tmp_path / 'figures' / 'ranks.png')
  assert path.read_bytes().startswith(b'\x89PNG')
