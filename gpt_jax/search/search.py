"""A search for the best config of an experiment, through Optuna.

The trials stand in a storage that any number of processes share; each is a run in a
workdir of its own, with the first seed of the size. `space` has what may be tried,
`trial_queue` who works on what, `trial_run` one trial, `database` the study in its
storage, `outputs` what a search leaves.
"""

import dataclasses
import math
import pathlib
import time
from typing import Any

from gpt_jax.analysis import metric_names
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose, nearest
from gpt_jax.search import database, space, trial_queue, trial_run
from gpt_jax.storage.urls import is_remote
from gpt_jax.sweeps import loading, points, states, validation
from gpt_jax.sweeps.mistakes import Mistake
from gpt_jax.workdir import files

REDUCTION_FACTOR = 3  # of successive halving: a third continues at each rung
MAX_FAILURES = 3  # in a row; more would fail, too
POLL_SECONDS = 2.0
# Attributes of a trial; SECONDS are those since its last start.
KIND, WHY, STEPS, SECONDS = 'kind', 'why', 'steps', 'seconds'
PRUNED_AT = 'pruned_at'


@dataclasses.dataclass(frozen=True)
class Search:
  """A study of Optuna over an experiment, open."""

  path: pathlib.Path  # of the experiment file
  experiment: Any
  size: str
  row: str
  sampler: str
  space: tuple  # of space.Dimension
  num_trials: int
  rungs: tuple[int, ...]  # steps
  name: str  # of the study in the storage
  folder: pathlib.Path  # trials are folders in it
  storage: str  # URL, without a password
  study: Any  # optuna.Study

  @property
  def metric(self):
    return self.experiment.metric

  def values(self, trial):
    """Returns `{field: value}` of a trial, drawn now where it has none yet."""
    return {one.field: one.suggest(trial) for one in self.space}

  def values_of(self, frozen):
    """Returns `{field: value}` of a trial that is over, or as far as it has any."""
    found = {one.field: one for one in self.space}
    return {
      field: found[field].choices[found[field].labels.index(value)]
      if found[field].choices
      else value
      for field, value in frozen.params.items()
    }

  def point(self, number, values):
    """Returns the Point of a trial."""
    place = self.folder.parent
    entry = space.trial_entry(self.experiment, self.size, self.row, place, values)
    name, config = trial_name(number), entry.config
    if 'checkpoint.every_steps' not in entry.overrides:
      # A killed trial should not begin again, however short it is.
      third = max(1, states.total_steps(config) // REDUCTION_FACTOR)
      every = min(third, config.checkpoint.every_steps or third)
      kept = dataclasses.replace(config.checkpoint, every_steps=every)
      config = dataclasses.replace(config, checkpoint=kept)
    return points.Point(
      name, self.folder / name, self.row, entry.axes, entry.overrides, config
    )

  def best(self):
    """Returns the best trial that ran to its end, None while there is none."""
    finished = [
      one
      for one in self.study.get_trials(deepcopy=False)
      if kind_of(one) == trial_run.COMPLETE
    ]
    sign = -1 if self.experiment.higher_is_better else 1
    return min(finished, key=lambda one: sign * one.value, default=None)


def trial_name(number):
  return f'trial_{number:04d}'


def kind_of(frozen):
  """Returns how a trial has ended, one of trial_run's kinds, or 'running'."""
  state = frozen.state.name.lower()
  # Its process may have died after it had said how the trial ended, and before the end.
  return frozen.user_attrs.get(KIND, state) if frozen.state.is_finished() else state


def open_search(
  path, size='quick', workdir=None, *, sampler='tpe', num_trials=None, storage=None,
  name='search', row=None, num_rungs=2,
):  # fmt: skip
  """Returns the Search of an experiment file; nothing has been trained.

  Args:
    num_trials: of the study in all, those of earlier starts and of other processes
      included; None for a grid: all of it.
    storage: any URL that Optuna takes; None: SQLite in the folder of the search.
    name: of that folder, and in the storage NAME/SIZE/`name`.
    row: of the experiment; None: the first one.
  """
  optuna = space.import_optuna()
  source, experiment = loading.load(path)
  validation.require_valid(source, experiment)
  chosen = choose(experiment.sizes, size, '--size')
  row = row or (chosen.only_rows or tuple(experiment.rows))[0]
  choose(experiment.rows, row, '--only')
  if is_remote(workdir or 'runs') and not storage:
    raise ConfigError(
      f'--workdir={workdir}: a search keeps its study in a database, which a bucket'
      f' cannot hold; add --storage=sqlite:///{source.path.stem}.db for processes of'
      ' this machine, or --storage=postgresql://USER@HOST/DATABASE for several. Trials'
      ' then lie in the bucket.'
    )
  place = files.as_folder(workdir or 'runs') / source.path.stem / size
  dimensions = space.dimensions(source, experiment, size, row, place)
  num_trials = space.check_sampler(source, sampler, dimensions, num_trials)
  config = space.trial_entry(experiment, size, row, place, {}).config
  rungs = trial_run.rung_steps(config, num_rungs, REDUCTION_FACTOR)
  _check_metric(source, experiment, config)
  folder = place / name
  files.check_writable(folder)
  url = storage or f'sqlite:///{folder / "study.db"}'
  full_name = f'{source.path.stem}/{size}/{name}'
  pruner = optuna.pruners.NopPruner()
  if rungs:
    pruner = optuna.pruners.SuccessiveHalvingPruner(
      min_resource=rungs[0], reduction_factor=REDUCTION_FACTOR
    )
  with database.explaining_errors(url):
    study = database.open_study(
      optuna,
      url,
      study_name=full_name,
      direction='maximize' if experiment.higher_is_better else 'minimize',
      pruner=pruner,
    )
    stated = database.definition(experiment, row, dimensions, rungs, config)
    database.require_same(study, stated, url, shown=name)
  return Search(
    source.path, experiment, size, row, sampler, dimensions, num_trials, rungs,
    full_name, folder, database.shown_url(url), study,
  )  # fmt: skip


def _check_metric(source, experiment, config):
  known, metric = [*config.eval.sets, 'train'], experiment.metric
  name, slash, score = metric.partition('/')
  if name in known and slash:
    try:
      return metric_names.require_known(metric, config)
    except ConfigError as error:
      text = f'metric: {str(error).rstrip(".")}'
      raise source.error([Mistake(text, ('metric',))]) from None
  text = f'metric={metric!r}: no evaluation set {name!r}; '
  if not slash:
    text = f'metric={metric!r}: of which evaluation set? '
  hint = nearest(name, known) or (known[0] if not slash else None)
  text += f'did you mean {f"{hint}/{score or name}"!r}? ' if hint else ''
  text += f'known: {", ".join(f"{one}/..." for one in known)}'
  raise source.error([Mistake(text, ('metric',))])


class Reporter:
  """What a run says of its scores to its trial."""

  def __init__(self, search, trial):
    self._search, self._trial = search, trial

  @property
  def pruned_at(self):
    """The step at which the trial was found bad, 0 if it was not."""
    return self._trial.user_attrs.get(PRUNED_AT, 0)

  def is_bad(self, value, step):
    """Reports `value`; returns whether the run should end at this rung."""
    with database.explaining_errors(self._search.storage):
      frozen = next(
        one
        for one in self._search.study.get_trials(deepcopy=False)
        if one.number == self._trial.number
      )
      # A run that resumes before a rung comes to it a second time.
      if step not in frozen.intermediate_values:
        self._trial.report(value, step)
        if self._trial.should_prune():
          self._trial.set_user_attr(PRUNED_AT, step)
    return self.pruned_at == step


def run(search, show, *, run_trial=None, queue=None, sleep=time.sleep):
  """Works on trials until the study has `num_trials`; waits for those of others.

  `show`: a `display.Display`. Raises Interrupted after SIGTERM or Ctrl-C, once
  the present trial is saved.
  """
  optuna = space.import_optuna()
  make = space.SAMPLERS[search.sampler]
  seed = search.point(0, {}).config.seed
  run_trial = run_trial or trial_run.run_trial
  queue = queue or trial_queue.Queue(search.study, search.num_trials)
  num_failures = 0
  while True:
    with database.explaining_errors(search.storage):
      # Two processes must not draw the same values, and a resumed search should draw
      # those of one that was never killed: the seed is that of study and trial. A grid
      # is shuffled once.
      search.study.sampler = make(optuna, search.space, seed)
      given = queue.next()
      if given is None and not queue.running():
        return
    if given is None:
      show.waiting()
      sleep(POLL_SECONDS)
      continue
    trial, was_taken_up = given
    if search.sampler != 'grid':
      own_seed = seed * 100_003 + trial.number
      search.study.sampler = make(optuna, search.space, own_seed)
    try:
      ended = _work_on(search, trial, was_taken_up, queue, show, run_trial)
    except BaseException:
      queue.release(trial)
      raise
    if ended is None:  # somebody trains it after all
      continue
    num_failures = num_failures + 1 if ended.kind == trial_run.FAILED else 0
    if num_failures == MAX_FAILURES:
      assert ended.error is not None
      raise ended.error


def _work_on(search, trial, was_taken_up, queue, show, run_trial):
  """Returns the Ended of `trial`, told to the study, or None if another has it."""
  started = time.monotonic()
  with database.explaining_errors(search.storage):
    values = search.values(trial)
  with queue.beating(trial):
    try:
      point = search.point(trial.number, values)
    except ConfigError as error:  # values that do not go together
      ended = trial_run.Ended(trial_run.FAILED, why=str(error), error=error)
    else:
      if owner := states.living_owner(point.workdir):
        queue.give_back(trial, owner)
        return None
      show.started(trial.number, values, was_taken_up)
      ended = run_trial(
        point, Reporter(search, trial), search.metric, search.rungs, show.stepped
      )
  with database.explaining_errors(search.storage):
    _tell(search, trial, ended, time.monotonic() - started)
  show.ended(trial.number, ended)
  return ended


def _tell(search, trial, ended, seconds):
  state = space.import_optuna().trial.TrialState
  attributes = {KIND: ended.kind, STEPS: ended.step, SECONDS: round(seconds, 2)}
  if ended.why:
    attributes[WHY] = ended.why
  for name, value in attributes.items():
    trial.set_user_attr(name, value)
  told: dict[str, Any] = dict(values=ended.value)
  if ended.kind == trial_run.PRUNED:
    told = dict(state=state.PRUNED)
  elif ended.kind == trial_run.DIVERGED:
    # A result, and the worst there is: the sampler is to keep away from there.
    told = dict(values=-math.inf if search.experiment.higher_is_better else math.inf)
  elif ended.kind == trial_run.FAILED:
    told = dict(state=state.FAIL)
  search.study.tell(trial.number, skip_if_finished=True, **told)
