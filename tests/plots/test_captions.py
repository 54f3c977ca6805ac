"""A caption says what lines and bands are, and what is missing."""

import pytest

from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.plots import captions, over_metrics
from gpt_jax.sweeps import Figure, Line
from tests.plots.test_series import loss, results


def not_yet(results):
  raise NotEnoughData('no.')


def test_a_caption_states_statistics_and_references(tmp_path):
  lines = (
    Line('published', 1.25, 'Table 2'),
    Line('computed', lambda r: len(r), 'here'),
    Line('later', not_yet, 'here'),
  )
  text = captions.caption(Figure('f', 'F', lines=lines), results(tmp_path))
  assert 'Mean over seeds 0, 1, 2; bands reach from the lowest to the highest.' in text
  assert 'Dotted: published, 1.25 (Table 2).' in text
  assert 'Dotted: computed, 6 (here).' in text
  assert 'No level yet for later (here).' in text


def test_a_caption_has_what_a_drawing_function_says(tmp_path):
  draw = over_metrics.of({1: 'validation/loss'}, x_label='x', y_label='y')
  text = captions.caption(Figure('f', 'F', draw=draw), results(tmp_path))
  assert text == 'Mean over seeds; bands reach from the lowest to the highest.'
  plain = Figure('f', 'F', draw=lambda axes, results: None)
  assert not captions.caption(plain, results(tmp_path))


def no_text(results):
  raise DataError('no such text here.')


def slip(results):
  return min([])


def test_a_line_that_fails_is_left_out_or_named(tmp_path):
  known, unknown = captions.reference_levels(
    Figure('f', 'F', lines=(Line('text', no_text, 'here'), Line('one', 1, 'here'))),
    results(tmp_path),
  )
  assert [line.label for line, _ in known] == ['one']
  assert [line.label for line in unknown] == ['text']
  figure = Figure('f', 'F', lines=(Line('lowest', slip, 'here'),))
  waiting = results(tmp_path / 'part', lambda p: None)
  assert len(captions.reference_levels(figure, waiting)[1]) == 1
  with pytest.raises(ConfigError, match="figure 'f': line 'lowest' raised ValueError"):
    captions.reference_levels(figure, results(tmp_path))


def test_a_caption_tells_what_is_missing_or_hidden(tmp_path):
  found = results(tmp_path, lambda p: -loss(p) if p.row == 'base' else None)
  text = captions.caption(Figure('f', 'F', log_y=True), found)
  assert '3 of 6 points have finished.' in text
  assert '18 values of zero or less' in text


def test_the_alternative_text_has_the_final_values(tmp_path):
  text = captions.alt(Figure('f', 'Losses'), results(tmp_path))
  assert text == (
    'Losses: validation loss, nats per token against step. base 3 at 6; ours 13 at 6.'
  )


def test_the_alternative_text_has_the_value_of_each_name(tmp_path):
  found = results(tmp_path)
  for by, ends in (('', 'base 3; ours 13'), ('row', 'base 3; ours 13')):
    text = captions.alt(Figure('f', 'Losses', x='row', by=by), found)
    assert text == f'Losses: validation loss, nats per token. {ends}.'


@pytest.mark.parametrize(
  'figure, x, y',
  [
    (Figure('f', 'F'), 'step', 'validation loss, nats per token'),
    (Figure('f', 'F', x='model.d_model', y='accuracy'), 'd model', 'accuracy'),
    (Figure('f', 'F', x_label='X', y_label='Y'), 'X', 'Y'),
  ],
)
def test_axes_are_named_by_their_fields(figure, x, y):
  assert captions.x_label(figure) == x
  assert captions.y_label(figure) == y
