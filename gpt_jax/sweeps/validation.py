"""What an experiment says that cannot be: rows, claims and figures, before any run."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping

from gpt_jax.config.schema import Config
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps.algebra import ROW
from gpt_jax.sweeps.experiment import (
  EVIDENCE,
  KINDS,
  Claim,
  Experiment,
  Figure,
  Line,
  Range,
  Size,
)
from gpt_jax.sweeps.mistakes import Mistake


def require_valid(source, experiment):
  """Raises a ConfigError with all that is wrong with `experiment`, with lines."""
  source.require_none(list(mistakes_of(experiment)))


def mistakes_of(experiment: Experiment):
  """Yields the Mistakes of an Experiment; its overrides are checked with its points."""
  shapes = list(_wrong_shapes(experiment))
  yield from shapes
  if shapes:
    return  # the rest would stumble over them
  yield from _sizes(experiment)
  yield from _claims(experiment)
  yield from _figures(experiment)
  yield from _others(experiment)


def _wrong_shapes(experiment):
  for field, wanted in (('rows', dict), ('sizes', Size), ('search', Range)):
    value = getattr(experiment, field)
    if not isinstance(value, Mapping):
      yield _mistake(f'{field}: expected a dict, not {type(value).__name__}', field)
      continue
    for name, one in value.items():
      is_right = isinstance(one, Mapping if wanted is dict else wanted)
      if not isinstance(name, str) or not name or not is_right:
        shown = 'a dict of overrides' if wanted is dict else f'a {wanted.__name__}'
        yield _mistake(
          f'{field}[{name!r}]: expected a name and {shown}, not {type(one).__name__}',
          name if isinstance(name, str) else field,
        )
  for field, wanted in (('claims', Claim), ('figures', Figure)):
    value = getattr(experiment, field)
    if not isinstance(value, (tuple, list)):
      text = f'expected a tuple, not {type(value).__name__}'
      yield _mistake(f'{field}: {text}; a tuple of one ends in a comma', field)
      continue
    for one in value:
      if not isinstance(one, wanted):
        text = f'expected {wanted.__name__}s, not {type(one).__name__}'
        yield _mistake(f'{field}: {text}', field)
  if not isinstance(experiment.base, str):
    yield _mistake(f'base={experiment.base!r}: expected the name of a config', 'base')


def _sizes(experiment):
  if not experiment.sizes:
    yield _mistake('sizes: has none; expected quick and paper', 'sizes')
  if not experiment.rows:
    yield _mistake('rows: has none; leave them out for a single one', 'rows')
  for name, size in experiment.sizes.items():
    place = f'sizes[{name!r}]'
    for row in (*size.rows, *size.only_rows):
      yield from _row(experiment, row, f'{place}: ')
    if not isinstance(size.minutes, (int, float)) or not 0 < size.minutes < math.inf:
      yield _mistake(
        f'{place}: minutes={size.minutes!r}: expected a number above 0', name
      )
    if not isinstance(size.seeds, (tuple, list, range)):
      yield _mistake(f'{place}: seeds={size.seeds!r}: expected a tuple', name)
    varied = {field for one in size.sweep for field in one}
    if not size.sweep:
      yield _mistake(f'{place}: its sweep has no points', name)
    elif 'seed' in varied and size.seeds:
      yield _mistake(
        f'{place}: both its sweep and seeds={tuple(size.seeds)} vary seed; leave it out'
        ' of the sweep, or set seeds=()',
        'seed',
      )
    for row in dict.fromkeys(one.get(ROW) for one in size.sweep):
      if row is not None:
        yield from _row(experiment, row, f'{place}: ')


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
      if not isinstance(getattr(claim, field), str) or not getattr(claim, field):
        yield _mistake(f'{place}{field}: is empty; expected words', claim.name)
    if not callable(claim.rule):
      yield _mistake(f'{place}rule={claim.rule!r}: expected a function', claim.name)
    if type(claim.version) is not int or claim.version < 1:
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
      if '.' in field and not _is_config_field(field):
        yield _mistake(f'{place}{role}={field!r}: no such config field', field)
    for role in ('select', 'draw'):
      value = getattr(figure, role)
      if value is not None and not callable(value):
        yield _mistake(f'{place}{role}={value!r}: expected a function', figure.name)
    yield from _known_sizes(experiment, figure, place)
    for line in figure.lines:
      if not isinstance(line, Line):
        text = f'expected Lines, not {type(line).__name__}'
        yield _mistake(f'{place}lines: {text}; a tuple of one ends in a comma', 'lines')
      elif not callable(line.value) and not isinstance(line.value, (int, float)):
        text = f'expected a number or a function, not {line.value!r}'
        yield _mistake(f'{place}line {line.label!r}: {text}', line.label)


def _known_sizes(experiment, one, place):
  for size in one.sizes:
    if size not in experiment.sizes:
      known = ', '.join(experiment.sizes)
      yield _mistake(f'{place}no size {size!r}; sizes: {known}', one.name, size)


def _is_config_field(dotted):
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
  tables = {'': experiment.columns}
  tables |= {
    f'sizes[{name!r}]: ': one.columns for name, one in experiment.sizes.items()
  }
  for place, columns in tables.items():
    for heading, column in columns.items():
      if not isinstance(column, str) and not callable(column):
        text = f'expected a metric or a function, not {column!r}'
        yield _mistake(f'{place}columns[{heading!r}]: {text}', heading)
  for field, one in experiment.search.items():
    place = f'search[{field!r}]: '
    if not one.choices and not one.low < one.high:
      yield _mistake(
        f'{place}low={one.low}, high={one.high}: expected low < high', field
      )
    if one.log and one.low <= 0:
      yield _mistake(f'{place}log: expected low above 0, not {one.low}', field)


def _repeated(named, field):
  seen = set()
  for one in named:
    if one.name in seen:
      text = f'two are called {one.name!r}; files and the log tell them apart by name'
      yield _mistake(f'{field}: {text}', one.name)
    seen.add(one.name)


def _mistake(text, *anchors):
  return Mistake(text, tuple(str(anchor) for anchor in anchors))
