"""What the points of a study would take, before any is launched: memory, chip-hours.

Points whose steps are one program, but for numbers in it, are compiled once.
"""

import dataclasses
from collections.abc import Sequence

import jax

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.planning import inputs, tables
from gpt_jax.planning import plan as plans
from gpt_jax.planning.plan import Plan
from gpt_jax.program.horizon import make_horizon
from gpt_jax.sweeps.points import Point

_NO_PART = ('seed', 'init_from', 'init', 'checkpoint', 'logging', 'inference', 'eval')
"""Sections (or fields) that the step of a training does not contain."""
_LENGTHS = (
  'train.steps', 'train.tokens', 'schedule.warmup_steps', 'schedule.warmup_tokens',
  'schedule.decay_steps', 'schedule.decay_tokens',
)  # fmt: skip
"""Whole numbers that it contains as numbers; all others are shapes."""
_WITH_NUMBERS = ('model', 'attention', 'objective', 'optimizer', 'schedule')
_SHAPES = ('objective.span_density', 'objective.span_mean')
"""Fractional numbers that decide a shape."""


@dataclasses.dataclass(frozen=True)
class Price:
  """What one point takes at best; None: it cannot run there, `reason` says why."""

  name: str
  row: str
  program: int  # its place among the programs, from 0
  steps: int
  step_ms: float | None = None
  hours: float | None = None  # of the whole run
  chip_hours: float | None = None
  reason: str = ''


@dataclasses.dataclass(frozen=True)
class Prices:
  """The Price of each point, and the Plans that they follow from."""

  topology: str
  num_chips: int
  points: tuple[Price, ...]
  plans: tuple[Plan | None, ...]  # by program; None: it could not be built

  @property
  def is_on_accelerators(self):
    """Returns whether the devices are chips, of which users pay the hours."""
    return not self.topology.startswith('cpu')

  @property
  def left_out(self):
    """Returns the points that the totals leave out."""
    return tuple(each for each in self.points if each.reason)

  @property
  def chip_hours(self):
    return sum(each.chip_hours or 0.0 for each in self.points)

  @property
  def hours(self):
    """Returns the hours of all points one after the other."""
    return sum(each.hours or 0.0 for each in self.points)

  def to_dict(self):
    """Returns JSON values."""
    return dict(
      topology=self.topology,
      num_chips=self.num_chips,
      num_points=len(self.points),
      num_programs=len(self.plans),
      chip_hours=self.chip_hours,
      hours=self.hours,
      left_out=[each.name for each in self.left_out],
      points=[dataclasses.asdict(each) for each in self.points],
      programs=[plan and plan.to_dict() for plan in self.plans],
    )


def price(points: Sequence[Point], topology, progress=iter):
  """Returns the Prices of `points` on a planning Topology.

  `progress` wraps the list of programs, which are compiled one after the other.
  """
  groups: dict[str, list[Point]] = {}
  for point in points:
    groups.setdefault(program_key(point.config), []).append(point)
  configs = {str(point.workdir): point.config for point in points}
  found, made = {}, []
  for program, group in enumerate(progress(list(groups.values()))):
    plan, reason = _plan(group[0].config, topology, configs)
    made.append(plan)
    for point in group:
      found[point.name] = _price(point, program, plan, reason, topology)
  ordered = tuple(found[point.name] for point in points)
  return Prices(topology.name, topology.num_chips, ordered, tuple(made))


def program_key(config):
  """Returns text that is the same for Configs whose steps differ in numbers alone.

  A zero stays one: what is switched off by it is not in the program.
  """
  values = load.to_dict(config)
  try:
    # All that a program has of its data.
    data = dict(
      vocabulary=repr(inputs.vocabulary(config)),
      batch=inputs.batch_names(config),
      seq_len=config.data.seq_len,
      append_eos=config.data.append_eos,
    )
  except ConfigError:  # only a tokenizer that is built knows how many ids there are
    data = dict(data=values['data'], tokenizer=values['tokenizer'])
  del values['tokenizer']
  return repr(sorted(_normal(values | dict(data=data), '')))


def _normal(tree, prefix):
  """Yields (dotted field, value) of what a step contains, numbers made equal."""
  for name, value in tree.items():
    field = f'{prefix}{name}'
    if field in _NO_PART:
      continue
    if field in _LENGTHS:
      yield field, value and 'a length'
    elif name.endswith('options'):
      yield field, repr(value)  # what a plug-in does with a number is not known
    elif isinstance(value, dict):
      yield from _normal(value, f'{field}.')
    elif field.partition('.')[0] in _WITH_NUMBERS and field not in _SHAPES:
      yield field, repr(_without_numbers(value))
    else:
      yield field, repr(value)


def _without_numbers(value):
  if isinstance(value, float):
    return value and 'a number'
  if isinstance(value, list):
    return [_without_numbers(item) for item in value]
  if isinstance(value, dict):
    return {key: _without_numbers(item) for key, item in value.items()}
  return value


def _plan(config, topology, planned):
  """Returns (Plan, '') or (None, why there is none)."""
  try:
    return plans.compile_plan(config, topology, planned).plan, ''
  except (UserError, jax.errors.JaxRuntimeError) as error:
    return None, str(error).strip().splitlines()[0]


def _price(point, program, plan, reason, topology):
  horizon = make_horizon(point.config.train, point.config.data.seq_len)
  price = Price(point.name, point.row, program, horizon.total_steps, reason=reason)
  if plan is None:
    return price
  if plan.time is None or not plan.memory.fits:
    return dataclasses.replace(price, reason=tables.verdict(plan.memory))
  step_ms = plan.time.step_ms_bound
  # As in a single plan: all tokens at the batch size of the last stage.
  hours = horizon.total_tokens / plan.tokens_per_step * step_ms / 3.6e6
  return dataclasses.replace(
    price, step_ms=step_ms, hours=hours, chip_hours=hours * topology.num_chips
  )
