"""What a search may try: `Experiment.search`, checked, as distributions of Optuna."""

import contextlib
import dataclasses
import io
import re
import typing
from typing import Any

from gpt_jax.config.schema import Config
from gpt_jax.core.errors import ConfigError, require_extra
from gpt_jax.core.registry import choose
from gpt_jax.sweeps import expansion
from gpt_jax.sweeps.mistakes import Mistake

MAX_GRID = 10_000  # points that a grid may have


def import_optuna():
  """Returns the module optuna; ConfigError names the extra where it is missing."""
  try:
    import optuna
  except ImportError as error:
    raise ConfigError(f'--search {require_extra("sweep", "optuna")}.') from error
  # What it has to say about trials, the progress of a search says.
  optuna.logging.set_verbosity(optuna.logging.ERROR)
  return optuna


@dataclasses.dataclass(frozen=True)
class Dimension:
  """One field that a search varies."""

  field: str
  low: float = 0.0
  high: float = 0.0
  log: bool = False
  is_whole: bool = False
  labels: tuple = ()  # of choices, as the storage keeps them, and ...
  choices: tuple = ()  # ... the values

  def __str__(self):
    if self.choices:
      return f'one of {", ".join(map(repr, self.choices))}'
    kind = 'whole numbers' if self.is_whole else 'numbers'
    return f'{kind} from {self.low} to {self.high}{", logarithmic" * self.log}'

  def suggest(self, trial):
    """Returns the value that an Optuna trial has or draws."""
    if self.choices:
      label = trial.suggest_categorical(self.field, self.labels)
      return self.choices[self.labels.index(label)]
    suggest = trial.suggest_int if self.is_whole else trial.suggest_float
    return suggest(self.field, self.low, self.high, log=self.log)

  def grid(self):
    """Returns all values as the storage keeps them, None where they are too many."""
    if self.choices:
      return list(self.labels)
    if self.is_whole and not self.log and self.high - self.low < MAX_GRID:
      return list(range(int(self.low), int(self.high) + 1))
    return None


def dimensions(source, experiment, size, row, folder):
  """Returns the Dimensions of an Experiment's search.

  Raises a ConfigError with the line of each range that is empty, of the wrong type, or
  whose ends or choices no config may have.
  """
  if not experiment.search:
    example = "search={'optimizer.learning_rate': Range(1e-4, 1e-1, log=True)}"
    text = f'--search: the experiment declares no ranges; give it {example}'
    raise source.error([Mistake(text, ('Experiment',))])
  mistakes, found = [], []
  base = trial_entry(experiment, size, row, folder, {})
  for field, one in experiment.search.items():
    try:
      dimension = _dimension(field, one, base.config)
      ends = dimension.choices or (dimension.low, dimension.high)
      for value in dict.fromkeys(ends):
        trial_entry(experiment, size, row, folder, {field: value})
      found.append(dimension)
    except ConfigError as error:
      lines = str(error).splitlines()
      text = re.sub(r' \(point [^)]*\)$', '', lines[-1].strip().removesuffix('.'))
      mistakes.append(Mistake(f'search[{field!r}]: {text}', ('search', field)))
  source.require_none(mistakes)
  return tuple(found)


def trial_entry(experiment, size, row, folder, values):
  """Returns the expansion.PlannedPoint of a trial: `row` at `size`, its first seed.

  `values`: `{field: value}` over it. Axes of the size's sweep are left out. Raises
  ConfigError where no config can have the values.
  """
  chosen = experiment.sizes[size]
  seeds = chosen.seeds or [one['seed'] for one in chosen.sweep if 'seed' in one]
  alone = dataclasses.replace(
    chosen, sweep=(dict(values),), seeds=tuple(seeds[:1]), only_rows=(row,)
  )
  alone = dataclasses.replace(experiment, sizes={size: alone})
  # What a shorter run carries along is said once for each resolved config.
  with contextlib.redirect_stderr(io.StringIO()):
    found = expansion.expand(alone, size, folder)
  if found.mistakes:
    raise ConfigError('\n'.join(mistake.text for mistake in found.mistakes))
  return found.entries[-1]


def _dimension(field, one, config):
  if one.choices:
    if len({repr(choice) for choice in one.choices}) < len(one.choices):
      raise ConfigError(f'choices={one.choices}: one of them stands there twice')
    # Storages keep numbers and texts; anything else under its spelling.
    plain = all(isinstance(c, (bool, int, float, str)) for c in one.choices)
    labels = tuple(one.choices) if plain else tuple(map(repr, one.choices))
    return Dimension(field, labels=labels, choices=tuple(one.choices))
  ends = one.low, one.high
  kinds = _kinds_of(config, field)
  if not {int, float, Any} & kinds:
    names = ', '.join(sorted(getattr(kind, '__name__', str(kind)) for kind in kinds))
    raise ConfigError(f'a field of {names}, not a number; give choices=(...)')
  is_whole = float not in kinds and int in kinds
  if is_whole and any(end != int(end) for end in ends):
    raise ConfigError(
      f'low={one.low}, high={one.high}: a field of whole numbers; expected such ends'
    )
  convert = int if is_whole else float
  return Dimension(field, convert(one.low), convert(one.high), one.log, is_whole)


def _kinds_of(config, field):
  """Returns the types that a field may have; {Any} where a config does not say."""
  node, kinds = config, {Config}
  for part in field.split('.'):
    hints = {}
    if dataclasses.is_dataclass(node):
      hints = typing.get_type_hints(type(node))
    node = getattr(node, part, None)
    kind = hints.get(part, Any)
    kinds = set(typing.get_args(kind)) or {kind}
  return kinds - {type(None)}


def _make_grid(optuna, space, seed):
  class Grid(optuna.samplers.GridSampler):
    """Optuna's, which ends `Study.optimize`; here the number of trials does."""

    def after_trial(self, study, trial, state, values):
      pass

  return Grid({one.field: one.grid() for one in space}, seed=seed)


SAMPLERS = {
  'tpe': lambda optuna, space, seed: optuna.samplers.TPESampler(seed=seed),
  'random': lambda optuna, space, seed: optuna.samplers.RandomSampler(seed=seed),
  'grid': _make_grid,
}
"""What chooses the values of a trial, by the name of --search."""


def check_sampler(source, name, space, num_trials):
  """Returns how many trials the study is to have; ConfigError where it cannot."""
  choose(SAMPLERS, name, '--search')
  if name != 'grid':
    if num_trials is None:
      raise ConfigError(
        f'--search={name}: --trials is missing; how many trials is the study to have in'
        ' all, such as --trials=20?'
      )
    return num_trials
  endless = [one for one in space if one.grid() is None]
  source.require_none([
    Mistake(
      f'search[{one.field!r}]: {one} are no grid; give choices=(...) for'
      ' --search=grid, or use --search=tpe or random',
      ('search', one.field),
    )
    for one in endless
  ])  # fmt: skip
  size = 1
  for one in space:
    size *= len(one.grid())
  if size > MAX_GRID:
    raise ConfigError(
      f'--search=grid: {size} combinations; expected at most {MAX_GRID}. Give fewer'
      ' choices, or use --search=random --trials=N.'
    )
  return size if num_trials is None else min(size, num_trials)
