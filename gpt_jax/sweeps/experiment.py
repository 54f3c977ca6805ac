"""What an experiment file says: `get_experiment()` returns an Experiment.

The file's docstring states the question, what would change our mind and the source.
The points of a size are rows times `Size.sweep` times `Size.seeds`; the overrides of a
point are, later ones winning: those of the experiment, the size, the row, the size's
own for that row, and the axes.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

KINDS = {
  'exact': 'an identity, or a published number within a stated tolerance',
  'floor': 'a bound that no model can pass',
  'ordering': 'which of several is better',
  'mechanism': 'a phenomenon that shows or not',
  'report_only': 'numbers without a verdict',
}

EVIDENCE = {
  'V': 'read in the source itself',
  'T': 'from two independent transcriptions of the source',
  'M': 'from memory, not checked',
  'C': 'computed from a formula',
  'X': 'measured by us before',
}


@dataclasses.dataclass(frozen=True)
class FromRow:
  """As the value of `init_from`, or of a reference: the workdir of another row's point.

  It is the point of the same axes and seed; that point runs first.
  """

  row: str


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a rule finds: whether the claim holds, and the numbers it looked at."""

  holds: bool
  numbers: Mapping[str, Any]  # in the order in which they are shown


@dataclasses.dataclass(frozen=True)
class Claim:
  """A sentence that results can contradict, written before they exist."""

  name: str  # a word or two, unique in the file
  text: str
  source: str  # publication with table, figure or section; or how it was computed
  kind: str  # one of KINDS
  evidence: str  # one of EVIDENCE
  # Such as 'mean over 3 seeds, tolerance 0.02 nats'; '': what the rule says of itself.
  statistics: str = ''
  rule: Any = None  # results.Results -> Outcome; analysis/rules.py has the usual ones
  version: int = 1  # to be raised with every change of the rule after a result
  sizes: tuple[str, ...] = ()  # those it is about; (): all

  def __post_init__(self):
    if not self.statistics:
      words = getattr(self.rule, 'statistics', '')
      object.__setattr__(self, 'statistics', words)


@dataclasses.dataclass(frozen=True)
class Line:
  """A published or computed reference level of a figure."""

  label: str
  value: float | Callable[[Any], float]  # or a function of results.Results
  source: str


@dataclasses.dataclass(frozen=True)
class Figure:
  """A plot of results: curves over training, or final values over an axis."""

  name: str  # of the files
  title: str
  x: str = 'step'  # tokens, seconds; a config field; parameters, flops; row
  y: str = 'validation/loss'  # a metric; over training for the first three x
  by: str = 'row'  # one curve for each row, or each value of a config field
  panels: str = ''  # one panel for each value of this; '': one panel
  log_x: bool = False
  log_y: bool = False
  x_label: str = ''  # '': by x
  y_label: str = ''
  lines: tuple[Line, ...] = ()
  # The part of results.Results that is drawn, such as that at the best rate; None: all.
  select: Callable[[Any], Any] | None = None
  # (matplotlib axes, results.Results) -> None, instead of the curves above.
  draw: Callable | None = None
  sizes: tuple[str, ...] = ()  # those that have it; (): all


@dataclasses.dataclass(frozen=True)
class Range:
  """A range of a config field for `gpt-jax sweep --search`: [low, high]."""

  low: float
  high: float
  log: bool = False
  choices: tuple = ()  # instead of the range


@dataclasses.dataclass(frozen=True)
class Size:
  """One size of an experiment."""

  machine: str  # such as 'two CPU cores', or a topology of plan: 'v5p:4x4x4'
  minutes: float  # on that machine, about, all points together
  seeds: tuple[int, ...] = (0, 1, 2)
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  rows: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )  # row -> overrides at this size
  sweep: tuple[Mapping[str, Any], ...] = ({},)  # of algebra.py
  only_rows: tuple[str, ...] = ()  # (): all
  base: str = ''  # instead of the experiment's
  columns: Mapping[str, str | Callable] = dataclasses.field(
    default_factory=dict
  )  # beside the experiment's


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A question, the runs that answer it and the claims that they are held against."""

  base: str  # a config, as for --config
  sizes: Mapping[str, Size]  # quick (minutes on two cores) and paper
  rows: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=lambda: {'base': {}}
  )
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  claims: tuple[Claim, ...] = ()
  figures: tuple[Figure, ...] = ()
  metric: str = 'validation/loss'  # what table, search and paired tests compare
  higher_is_better: bool = False
  columns: Mapping[str, str | Callable] = dataclasses.field(
    default_factory=dict
  )  # heading -> metric, or of a result
  compare_to: str = ''  # row that the others are tested against; '': the first
  # Axes of which every row has its own best value, such as a learning rate: a second
  # table has each row there.
  at_best: tuple[str, ...] = ()
  search: Mapping[str, Range] = dataclasses.field(default_factory=dict)

  def at(self, size):
    """Returns the Experiment with the claims, figures and columns of a size alone."""
    return dataclasses.replace(
      self,
      claims=tuple(one for one in self.claims if not one.sizes or size in one.sizes),
      figures=tuple(one for one in self.figures if not one.sizes or size in one.sizes),
      columns={**self.columns, **self.sizes[size].columns},
    )
