"""Figures draw what the results say, in the same bytes each time."""

import json
import warnings

import numpy as np
import pytest

from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.core.errors import ConfigError
from gpt_jax.plots import captions, figures, palette
from gpt_jax.sweeps import Figure, Line
from gpt_jax.sweeps.algebra import vary
from gpt_jax.workdir.paths import Workdir
from tests.plots.test_series import RATES, loss, results
from tests.sweeps import fake_study


def lines_of(axis):
  return {line.get_label(): line for line in axis.get_lines()}


def test_curves_read_back_are_the_results(tmp_path):
  found = results(tmp_path)
  level = Line('floor', lambda r: r.where(row='base').mean('validation/loss'), 'us')
  canvas = figures.draw(Figure('f', 'F', lines=(level,)), found)
  lines = lines_of(canvas.axes[0])
  for row in ('base', 'ours'):
    own = [one.curve('validation/loss')[1] for one in found.where(row=row)]
    np.testing.assert_allclose(lines[row].get_ydata(), np.mean(own, axis=0))
    np.testing.assert_array_equal(lines[row].get_xdata(), [1, 2, 3, 4, 5, 6])
  assert [3.0, 3.0] in [list(line.get_ydata()) for line in canvas.axes[0].get_lines()]
  band = canvas.axes[0].collections[0].get_paths()[0].vertices[:, 1]
  own = [one.curve('validation/loss')[1] for one in found.where(row='base')]
  assert (band.min(), band.max()) == (np.min(own), np.max(own))


def with_losses(found, losses):
  """Returns `found` read again, each run with `losses` at steps 1, 2, ..."""
  records = [
    {'step': i + 1, 'tokens': i, 'time': 0.0, 'validation/loss': value}
    for i, value in enumerate(losses)
  ]
  for one in found:
    text = ''.join(json.dumps(record) + '\n' for record in records)
    Workdir(one.point.workdir).metrics.write_text(text)
  return Results(found.study)


@pytest.mark.slow
def test_a_row_has_one_color_in_all_figures(tmp_path):
  found = results(tmp_path, sweep=RATES)
  for x in ('step', 'optimizer.learning_rate', 'row'):
    canvas = figures.draw(Figure('f', 'F', x=x), found)
    used = {
      label.split(',')[0]: line.get_color()
      for label, line in lines_of(canvas.axes[0]).items()
      if label.startswith(('base', 'ours'))
    }
    assert used == {'base': palette.SERIES[0], 'ours': palette.SERIES[1]}


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(tmp_path):
  found = results(tmp_path)
  figure = Figure('f', 'F')
  one = figures.save(figure, found, tmp_path / 'one')
  two = figures.save(figure, found, tmp_path / 'two')
  assert one.svg.read_bytes() == two.svg.read_bytes()
  assert one.png.read_bytes() == two.png.read_bytes()
  assert one.png.read_bytes().startswith(b'\x89PNG')
  assert max(one.svg.stat().st_size, one.png.stat().st_size) < 60_000


@pytest.mark.slow
def test_without_results_a_figure_says_so(tmp_path):
  found = Results(fake_study.make(tmp_path))
  drawn = figures.save(Figure('f', 'F'), found, tmp_path)
  assert figures.EMPTY in drawn.svg.read_text()
  assert '0 of 6 points have finished' in drawn.caption


@pytest.mark.slow
def test_many_points_are_thinned_and_keep_their_ends(tmp_path):
  found = with_losses(results(tmp_path), [step / 7 for step in range(1, 1001)])
  canvas = figures.draw(Figure('f', 'F'), found)
  x = lines_of(canvas.axes[0])['base'].get_xdata()
  assert len(x) == figures.MAX_PLACES
  assert (x[0], x[-1]) == (1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize('log_y', [True, False])
def test_the_first_peak_of_a_loss_leaves_the_range(tmp_path, log_y):
  losses = [1000.0, *(2.0 + step / 100 for step in range(2, 99))]
  found = with_losses(results(tmp_path), losses)
  low, high = figures.draw(Figure('f', 'F', log_y=log_y), found).axes[0].get_ylim()
  assert 1 < low < 2.02 and 2.98 < high < 4


@pytest.mark.slow
def test_panels_share_their_range_and_one_legend(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', panels='optimizer.learning_rate', log_x=True, log_y=True)
  canvas = figures.draw(figure, found)
  assert [axis.get_title(loc='left') for axis in canvas.axes] == [
    'learning rate 0.01',
    'learning rate 0.1',
  ]
  assert len({axis.get_ylim() for axis in canvas.axes}) == 1
  low, high = canvas.axes[0].get_ylim()
  everything = [one.curve('validation/loss')[1] for one in found]
  assert low < np.min(everything) and high > np.max(everything)
  (legend,) = canvas.legends
  assert [text.get_text() for text in legend.get_texts()] == ['base', 'ours']


@pytest.mark.slow
def test_a_numeric_field_has_a_tick_for_each_value(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', x='optimizer.learning_rate', log_x=True)
  axis = figures.draw(figure, found).axes[0]
  assert [text.get_text() for text in axis.get_xticklabels()] == ['0.01', '0.1']
  assert axis.get_xscale() == 'log'


@pytest.mark.slow
def test_a_file_draws_itself_and_its_mistakes_are_named(tmp_path):
  found = results(tmp_path)

  def wait(axes, results):
    raise NotEnoughData('no.')

  def slip(axes, results):
    raise KeyError('head')

  def dots(axes, results):
    axes.plot([1, 2], [len(results), 0])

  canvas = figures.draw(Figure('f', 'F', draw=dots, x_label='x'), found)
  assert list(canvas.axes[0].get_lines()[0].get_ydata()) == [6, 0]
  assert canvas.axes[0].get_xlabel() == 'x'
  assert canvas.axes[0].get_lines()[0].get_color() == palette.SERIES[0]
  canvas = figures.draw(Figure('f', 'F', draw=wait), found)
  assert canvas.axes[0].texts[0].get_text() == figures.EMPTY
  part = results(tmp_path / 'part', lambda p: 1.0 if p.row == 'base' else None)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    canvas = figures.draw(Figure('f', 'F', draw=lambda axes, r: axes.legend()), part)
  assert canvas.axes[0].texts[0].get_text() == figures.EMPTY
  canvas = figures.draw(Figure('f', 'F', draw=slip), part)
  assert canvas.axes[0].texts[0].get_text() == figures.EMPTY
  with pytest.raises(ConfigError, match=r"fake\.py.*figure 'f'.*KeyError: 'head'"):
    figures.draw(Figure('f', 'F', draw=slip), found)


@pytest.mark.slow
@pytest.mark.parametrize('x', ['optimizer.learning_rate', 'row', 'step'])
def test_what_has_diverged_is_marked_at_the_edge(tmp_path, x):
  study = results(tmp_path, sweep=RATES).study
  fake_study.diverge(study.points[0])
  found = Results(study)
  figure = Figure('f', 'F', x=x)
  axis = figures.draw(figure, found).axes[0]
  assert np.isfinite(axis.get_ylim()).all() and np.isfinite(axis.get_xlim()).all()
  assert f'Diverged: {study.points[0].name};' in captions.caption(figure, found)
  if x == 'row':
    assert axis.texts[0].get_text() == 'diverged  learning rate 0.1'
  elif x != 'step':
    cross = lines_of(axis)['base, diverged']
    assert list(cross.get_xdata()) == [0.1] and list(cross.get_ydata()) == [1]
    assert np.isnan(lines_of(axis)['base'].get_ydata()).tolist() == [False, True]


@pytest.mark.slow
def test_ordered_values_have_ordered_colors(tmp_path):
  sweep = vary('optimizer.learning_rate', 0.1, 0.3, 0.01)
  found = results(tmp_path, loss, sweep=sweep)
  figure = Figure('f', 'F', by='optimizer.learning_rate', panels='row')
  axis = figures.draw(figure, found).axes[0]
  shown = {label: line.get_color() for label, line in lines_of(axis).items()}
  expected = palette.of_ordered(3)
  assert [shown[f'learning rate {rate}'] for rate in (0.01, 0.1, 0.3)] == expected


@pytest.mark.slow
def test_a_figure_that_fails_leaves_the_others(tmp_path):
  def slip(results):
    raise KeyError('row')

  wrong = Figure('wrong', 'Wrong', select=slip)
  study = fake_study.make(tmp_path, loss, figures=(wrong, Figure('right', 'Right')))
  (tmp_path / 'wrong.svg').write_text('of an earlier report')
  bad, good = figures.save_all(Results(study), tmp_path)
  assert "figure 'wrong': its select raised KeyError: 'row'" in bad.problem
  assert not (tmp_path / 'wrong.svg').exists()
  assert good.svg.exists() and not good.problem
