"""What is written about a figure: axes, caption, the text for those who do not see."""

from typing import Any

import numpy as np

from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import DataError
from gpt_jax.plots import drawn_text, series
from gpt_jax.sweeps.algebra import ROW

UNITS = {
  'loss': 'nats per token',
  'bits_per_byte': 'bits',
  'excess': 'nats per token',
}


def reference_levels(figure, results):
  """Returns (pairs (Line, level), the Lines whose level needs results to come)."""
  known: list[tuple[Any, float]] = []
  unknown = []
  for line in figure.lines:
    try:
      level = float(_level(line, results))
    except (NotEnoughData, DataError):  # such as a text that is not on this machine
      level = np.nan
    except Exception as error:
      if not results.missing:  # otherwise a mean of nothing, the lowest of nothing
        what = f'line {line.label!r}'
        raise series.raised(figure, results, what, error) from error
      level = np.nan
    if np.isfinite(level):
      known.append((line, level))
    else:
      unknown.append(line)
  return known, unknown


def caption(figure, results):
  """Returns what lines, bands and references are, and what is missing."""
  known, unknown = reference_levels(figure, results)
  # A function that draws says by itself what its lines and colours are.
  parts = [_spread(figure, results) if figure.draw is None else _said(figure.draw)]
  by_source = {}
  for line, level in known:
    named = f'{line.label}, {series.format_value(level)}'
    by_source.setdefault(line.source, []).append(named)
  parts += [f'Dotted: {"; ".join(n)} ({source}).' for source, n in by_source.items()]
  parts += [f'No level yet for {line.label} ({line.source}).' for line in unknown]
  if hidden := _hidden_by_log(figure, results):
    parts.append(
      f'{hidden} values of zero or less have no place on a logarithmic axis.'
    )
  if diverged := [one.point.name for one in results if one.diverged]:
    parts.append(f'Diverged: {", ".join(diverged)}; a mean with it is no number.')
  if len(results) < (expected := len(results.points)):
    parts.append(f'{len(results)} of {expected} points have finished.')
  return ' '.join(part for part in parts if part)


def alt(figure, results, canvas=None):
  """Returns the figure in words: axes and final values.

  `canvas`: the matplotlib figure, of which those that a file draws are read.
  """
  if figure.draw is not None:
    values = drawn_text.describe(canvas) if canvas else ''
    return f'{figure.title}: {values}.' if values else figure.title
  against = f' against {x_label(figure)}' if x_label(figure) else ''
  text = f'{figure.title}: {y_label(figure)}{against}.'
  for panel, found in series.collect(figure, results).items():
    head = '' if panel is None else f' {panel_title(figure, panel)}:'
    text += f'{head} {"; ".join(end for one in found for end in _ends(one))}.'
  return text


def _ends(one):
  """Returns the last value of a curve in words, or those of all names."""
  pairs = list(zip(one.x, one.mean, strict=True))
  if all(map(series.is_number, one.x)):
    pairs = pairs[-1:]
  for x, mean in pairs:
    is_number = series.is_number(x)
    is_said = one.key_label == str(x)  # a row over rows
    parts = (
      '' if is_number else str(x),
      one.variant_label if is_said else one.label,
      series.format_value(float(mean)),
      f'at {series.format_value(x)}' if is_number and len(one.x) > 1 else '',
    )
    yield ' '.join(filter(None, parts))


def panel_title(figure, panel):
  name = '' if figure.panels == ROW else series.field_label(figure.panels) + ' '
  return f'{name}{series.format_value(panel)}'


def x_label(figure):
  return figure.x_label or ('' if figure.x == ROW else series.field_label(figure.x))


def y_label(figure):
  """Returns the label of y with its unit: `validation/loss` in nats per token."""
  if figure.y_label:
    return figure.y_label
  where, _, metric = figure.y.rpartition('/')
  unit = f', {UNITS[metric]}' if metric in UNITS else ''
  return f'{where} {series.field_label(metric)}{unit}'.strip()


def _level(line, results) -> Any:
  return line.value(results) if callable(line.value) else line.value


def _said(draw):
  return getattr(draw, 'caption', '')


def _spread(figure, results):
  panels = series.collect(figure, results)
  counts = {one.num_seeds for found in panels.values() for one in found}
  if not counts:
    return ''
  if counts == {1}:
    return 'One seed.'
  seeds = sorted({result.seed for result in series.selected(figure, results)})
  listed = ', '.join(map(str, seeds))
  shape = 'bands' if figure.x in series.OVER_TRAINING else 'bars'
  return f'Mean over seeds {listed}; {shape} reach from the lowest to the highest.'


def _hidden_by_log(figure, results):
  if not figure.log_y or figure.draw is not None:
    return 0
  panels = series.collect(figure, results)
  return sum(
    int((one.values_SP <= 0).sum()) for found in panels.values() for one in found
  )
