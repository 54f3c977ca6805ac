"""The figure of recall."""

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.plots import recall_curves

CURVES = {'bm25': [0.5, 0.75, 1.0], 'fused': [0.6, 0.8, 1.0]}


def test_each_method_is_a_line_over_the_passages_read():
  (axis,) = recall_curves.draw(CURVES).axes
  one, other = axis.lines
  assert list(one.get_xdata()) == [1, 2, 3] and list(one.get_ydata()) == CURVES['bm25']
  assert one.get_color() != other.get_color()
  labels = [text.get_text() for text in axis.get_legend().get_texts()]
  assert labels == ['words (BM25)', 'both, fused']


def test_it_is_saved_by_the_ending_of_its_name(tmp_path):
  recall_curves.save(CURVES, tmp_path / 'a.svg')
  assert '<svg' in (tmp_path / 'a.svg').read_text()
  with pytest.raises(StorageError, match='--figure='):
    recall_curves.save(CURVES, tmp_path / 'a.doc')
