"""From an experiment file to its points: each a config, a name and a workdir."""

import contextlib
import dataclasses
import fnmatch
import io
import pathlib
from collections.abc import Mapping
from typing import Any

from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose, nearest
from gpt_jax.storage.places import place
from gpt_jax.sweeps import expansion, loading, validation
from gpt_jax.sweeps.experiment import Experiment


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
  """One run of a sweep."""

  name: str  # of its folder
  workdir: pathlib.Path
  row: str
  axes: Mapping[str, Any]  # config field -> value, seed included
  overrides: Mapping[str, Any]  # those that the experiment states over its base
  config: Config
  needs: tuple[str, ...] = ()  # names of points that have to be done before


@dataclasses.dataclass(frozen=True)
class Study:
  """An experiment at one size, with the folder of its runs."""

  path: pathlib.Path  # of the experiment file
  experiment: Experiment  # with the claims, figures and columns of the size
  size: str
  folder: pathlib.Path  # points are folders in it
  points: tuple[Point, ...]  # those that others need come before them
  duplicates: tuple[Point, ...] = ()  # in the workdir of the point with their config
  notes: tuple[str, ...] = ()  # what configs say while they are resolved

  @property
  def name(self):
    return self.path.stem


def open_study(path, size='quick', workdir=None, check=None):
  """Returns the Study of an experiment file, its points expanded and validated.

  Args:
    workdir: instead of `runs`; points lie in WORKDIR/NAME/SIZE/POINT, the tokens that
      they share in WORKDIR/NAME/cache.
    check: `(Source, Study) -> Mistakes`, such as `checks.mistakes_of`.
  Raises one ConfigError with all problems of the file and of its points, each with its
  line.
  """
  source, experiment = loading.load(path)
  without_points = validation.mistakes_in_points(experiment)
  mistakes = without_points + validation.mistakes_in_words(experiment)
  if without_points:
    raise source.error(mistakes)
  choose(experiment.sizes, size, '--size')
  folder = place(workdir or 'runs') / source.path.stem / size
  with contextlib.redirect_stderr(io.StringIO()) as said:
    found = expansion.expand(experiment, size, folder)
  notes = tuple(said.getvalue().splitlines())
  points, duplicates = points_of(found, folder)
  chosen = experiment.at(size)
  study = Study(source.path, chosen, size, folder, points, duplicates, notes)
  mistakes += found.mistakes
  if check and not found.mistakes:
    mistakes += check(source, study)
  source.require_none(mistakes)
  return study


def points_of(found, folder):
  """Returns (points, duplicates) of an Expansion."""
  return (
    tuple(_point(one, folder / one.name) for one in found.entries),
    tuple(_point(one, folder / kept) for one, kept in found.duplicates),
  )


def _point(entry, workdir):
  return Point(
    name=entry.name,
    workdir=workdir,
    row=entry.row,
    axes=entry.axes,
    overrides=entry.overrides,
    config=entry.config,
    needs=entry.needs,
  )


def select(study, only):
  """Returns the points of `study` whose row or name matches one of the patterns `only`.

  With those that they need; all points where `only` is empty. Raises ConfigError for a
  pattern that matches nothing.
  """
  if not only:
    return study.points
  by_name = {point.name: point for point in study.points}
  wanted = set()
  for pattern in only:
    found = [
      point.workdir.name
      for point in (*study.points, *study.duplicates)
      if fnmatch.fnmatchcase(point.row, pattern)
      or fnmatch.fnmatchcase(point.name, pattern)
    ]
    if not found:
      known = list(dict.fromkeys(point.row for point in study.points))
      hint = nearest(pattern, known)
      raise ConfigError(
        f'--only={pattern}: no row or point of {study.path} at --size={study.size} is'
        f' called so; rows: {", ".join(known)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )
    wanted.update(found)
  # Needed ones stand before those that need them.
  for point in reversed(study.points):
    if point.name in wanted:
      wanted.update(by_name[name].name for name in point.needs)
  return tuple(point for point in study.points if point.name in wanted)
