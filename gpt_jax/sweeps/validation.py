"""What an experiment says that cannot be: rows, claims and figures, before any run."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping

from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps import algebra, shapes
from gpt_jax.sweeps.algebra import ROW
from gpt_jax.sweeps.experiment import EVIDENCE, KINDS, Experiment
from gpt_jax.sweeps.mistakes import Mistake


def mistakes_in_points(experiment: Experiment):
  """Returns the Mistakes that keep an Experiment from having points."""
  if found := shapes.mistakes_of(experiment):
    return found  # the rest would stumble over them
  return [*_rows_and_sizes(experiment), *_whole_sections(experiment)]


def mistakes_in_words(experiment: Experiment):
  """Returns the Mistakes of claims, figures and whatever else makes no points."""
  if shapes.mistakes_of(experiment):
    return []
  return [*_claims(experiment), *_figures(experiment), *_others(experiment)]


def require_valid(source, experiment):
  """Raises a ConfigError with all that is wrong with `experiment`, with lines.

  Its overrides are checked with its points.
  """
  source.require_none(mistakes_in_points(experiment) + mistakes_in_words(experiment))


def _rows_and_sizes(experiment):
  if not experiment.sizes:
    yield _mistake('sizes: has none; expected quick and paper', 'sizes')
  if not experiment.rows:
    yield _mistake('rows: has none; leave them out for a single one', 'rows')
  for name, size in experiment.sizes.items():
    place = f'sizes[{name!r}]'
    if not re.fullmatch(r'\w[\w.-]*', name):
      text = 'expected letters, digits, _ - and .: it names a folder'
      yield _mistake(f'{place}: {text}', name)
    if len(set(size.seeds)) < len(size.seeds):
      text = 'one of them stands there twice'
      yield _mistake(f'{place}: seeds={tuple(size.seeds)}: {text}', name, 'seeds')
    for row in (*size.rows, *size.only_rows):
      yield from _row(experiment, row, f'{place}: ')
    if not 0 < size.minutes < math.inf:
      yield _mistake(
        f'{place}: minutes={size.minutes!r}: expected a number above 0', name
      )
    varied = {field for one in size.sweep for field in one}
    if not size.sweep:
      yield _mistake(f'{place}: its sweep has no points', name)
    elif 'seed' in varied and size.seeds:
      yield _mistake(
        f'{place}: both its sweep and seeds={tuple(size.seeds)} vary seed; leave it out'
        ' of the sweep, or set seeds=()',
        'seed',
      )
    yield from _axes(experiment, name, size, f'{place}: ')


def _axes(experiment, name, size, place):
  for row in dict.fromkeys(str(one[ROW]) for one in size.sweep if one.get(ROW)):
    yield from _row(experiment, row, place)
  told = set()
  for field, value in (item for one in size.sweep for item in one.items()):
    try:
      algebra.require_hashable(field, value)
    except ConfigError as error:
      if field not in told:
        told.add(field)
        yield _mistake(f'{place}sweep: {error}', name, field)


def _whole_sections(experiment):
  """Yields Mistakes of sections that overrides replace by a few of their fields."""
  sections = {
    field: set(hint.__dataclass_fields__)
    for field, hint in typing.get_type_hints(Config).items()
    if dataclasses.is_dataclass(hint)
  }
  for place, anchor, overrides in _all_overrides(experiment):
    for field, value in overrides.items():
      known = sections.get(field)
      if known is None or isinstance(value, Mapping) and known <= value.keys():
        continue
      given = [name for name in known if isinstance(value, Mapping) and name in value]
      example = f'{field}.{[*given, *sorted(known)][0]}'
      text = f'{field!r} is a whole section of the config; did you mean {example!r}?'
      yield _mistake(f'{place}: {text}', anchor, field)


def _all_overrides(experiment):
  """Yields (place, anchor, overrides) wherever an experiment states some."""
  yield 'overrides', 'overrides', experiment.overrides
  for row, values in experiment.rows.items():
    yield f'rows[{row!r}]', row, values
  for name, size in experiment.sizes.items():
    yield f'sizes[{name!r}].overrides', name, size.overrides
    for row, values in size.rows.items():
      yield f'sizes[{name!r}].rows[{row!r}]', name, values


def _row(experiment, row, place):
  if row not in experiment.rows:
    hint = nearest(row, experiment.rows)
    known = f'rows: {", ".join(experiment.rows)}'
    text = f'did you mean {hint!r}? {known}' if hint else known
    yield _mistake(f'{place}no row {row!r}; {text}', str(row))


def _claims(experiment):
  yield from _repeated(experiment.claims, 'claims')
  for claim in experiment.claims:
    place = f'claim {claim.name!r}: '
    for field, known in (('kind', KINDS), ('evidence', EVIDENCE)):
      value = getattr(claim, field)
      if value not in known:
        hint = nearest(value, known)
        listed = ', '.join(f'{key} ({text})' for key, text in known.items())
        text = f'did you mean {hint!r}?' if hint else f'expected one of {listed}'
        yield _mistake(f'{place}{field}={value!r}: {text}', claim.name, str(value))
    for field in ('name', 'text', 'source', 'statistics'):
      if not getattr(claim, field):
        yield _mistake(f'{place}{field}: is empty; expected words', claim.name)
    if not callable(claim.rule):
      yield _mistake(f'{place}rule={claim.rule!r}: expected a function', claim.name)
    if claim.version < 1:
      yield _mistake(
        f'{place}version={claim.version!r}: expected 1, 2, ...', claim.name
      )
    yield from _known_sizes(experiment, claim, place)


def _figures(experiment):
  yield from _repeated(experiment.figures, 'figures')
  for figure in experiment.figures:
    place = f'figure {figure.name!r}: '
    if not re.fullmatch(r'[\w.-]+', str(figure.name)):
      text = 'expected letters, digits, _ - and .: it names files'
      yield _mistake(f'figures: name={figure.name!r}: {text}', figure.name)
    for role in ('x', 'by', 'panels'):
      field = getattr(figure, role)
      if '.' in field and not is_config_field(field):
        yield _mistake(f'{place}{role}={field!r}: no such config field', field)
    yield from _known_sizes(experiment, figure, place)


def _known_sizes(experiment, one, place):
  for size in one.sizes:
    if size not in experiment.sizes:
      known = ', '.join(experiment.sizes)
      yield _mistake(f'{place}no size {size!r}; sizes: {known}', one.name, size)


def is_config_field(dotted):
  """Returns whether a Config has the field; options of entries pass unseen."""
  section = Config
  for part in dotted.split('.'):
    if not dataclasses.is_dataclass(section):
      return True
    hints = typing.get_type_hints(section)
    if part not in hints:
      return False
    section = hints[part]
  return True


def _others(experiment):
  if experiment.compare_to:
    yield from _row(experiment, experiment.compare_to, 'compare_to: ')
  yield from _at_best(experiment)
  for field, one in experiment.search.items():
    place = f'search[{field!r}]: '
    if not one.choices and not one.low < one.high:
      yield _mistake(
        f'{place}low={one.low}, high={one.high}: expected low < high', field
      )
    if one.log and one.low <= 0:
      yield _mistake(f'{place}log: expected low above 0, not {one.low}', field)


def _at_best(experiment):
  axes = {
    axis for size in experiment.sizes.values() for one in size.sweep for axis in one
  }
  for field in experiment.at_best:
    if field not in axes:
      hint = nearest(field, axes)
      known = f'did you mean {hint!r}?' if hint else f'axes: {", ".join(sorted(axes))}'
      yield _mistake(f'at_best: no sweep varies {field!r}; {known}', field)


def _repeated(named, field):
  seen = set()
  for one in named:
    if one.name in seen:
      text = f'two are called {one.name!r}; files and the log tell them apart by name'
      yield _mistake(f'{field}: {text}', one.name)
    seen.add(one.name)


def _mistake(text, *anchors):
  return Mistake(text, tuple(str(anchor) for anchor in anchors))
