"""From an experiment file to its points: each a config, a name and a workdir."""

import dataclasses
import pathlib
import re
import runpy
from collections.abc import Mapping
from typing import Any

from gpt_jax.config import files, load
from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose
from gpt_jax.program import setup
from gpt_jax.sweeps.algebra import ROW, product, rows, seeds
from gpt_jax.sweeps.experiment import Experiment, FromRow


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
  """One run of a sweep."""

  name: str  # of its folder
  workdir: pathlib.Path
  row: str
  axes: Mapping[str, Any]  # config field -> value, seed included
  overrides: Mapping[str, Any]  # all those over the base config
  config: Config
  needs: tuple[str, ...] = ()  # names of points that have to be done before


@dataclasses.dataclass(frozen=True)
class Study:
  """An experiment at one size, with the folder of its runs."""

  path: pathlib.Path  # of the experiment file
  experiment: Experiment
  size: str
  folder: pathlib.Path  # points are folders in it
  points: tuple[Point, ...]

  @property
  def name(self):
    return self.path.stem


def open_study(path, size='quick', workdir=None):
  """Returns the Study of an experiment file, its points expanded and validated.

  `workdir`: instead of `runs`; points lie in WORKDIR/NAME/SIZE/POINT, the tokens that
  they share in WORKDIR/NAME/cache.
  """
  path = pathlib.Path(path)
  experiment = load_experiment(path)
  choose(experiment.sizes, size, '--size')
  folder = pathlib.Path(workdir or 'runs').absolute() / path.stem / size
  points = expand(experiment, size, folder)
  return Study(path, experiment, size, folder, points)


def load_experiment(path):
  """Returns the Experiment of a file; ConfigError names file and line of a mistake."""
  module = runpy.run_path(str(path))
  return module['get_experiment']()


def expand(experiment, size, folder):
  """Returns the points of `experiment` at `size`, without duplicates."""
  chosen = experiment.sizes[size]
  sweep = product(chosen.sweep, seeds(*chosen.seeds))
  if not any(ROW in settings for settings in sweep):
    sweep = product(rows(*(chosen.only_rows or experiment.rows)), sweep)
  base = files.load_file(experiment.base)
  # Beside the points: those of one text tokenize it once.
  cache = str(folder.parent / 'cache')
  shared = {} if base.data.cache_dir else {'data.cache_dir': cache}
  found = {}
  for settings in sweep:
    row = settings[ROW]
    axes = {field: value for field, value in settings.items() if field != ROW}
    overrides = {
      **experiment.overrides,
      **chosen.overrides,
      **experiment.rows[row],
      **chosen.rows.get(row, {}),
      **axes,
    }
    needs = []
    for field, value in overrides.items():
      if isinstance(value, FromRow):
        needs.append(point_name(value.row, axes))
        overrides[field] = str(folder / needs[-1])
    name = point_name(row, axes)
    config = setup.resolve(base, shared | overrides)
    key = repr(sorted(load.to_dict(config).items()))
    point = Point(name, folder / name, row, axes, overrides, config, tuple(needs))
    found.setdefault(key, point)
  return tuple(found.values())


def point_name(row, axes):
  """Returns the name of a point's folder: its row and its values on the axes."""
  parts = [_slug(row)]
  for field, value in axes.items():
    shown = f'{value:g}' if isinstance(value, float) else str(value)
    parts.append(f'{field.rpartition(".")[2]}={_slug(shown)}')
  return ','.join(parts)


def _slug(text):
  return re.sub(r'[^A-Za-z0-9.+-]+', '_', text).strip('_')


def require_rows(experiment):
  """Raises ConfigError where a size names a row that the experiment lacks."""
  for name, size in experiment.sizes.items():
    for row in (*size.rows, *size.only_rows):
      if row not in experiment.rows:
        raise ConfigError(f'sizes[{name!r}]: no row {row!r}.')
