"""An experiment file with ranges, and searches over it that train nothing."""

import pathlib

from gpt_jax.search import search, trial_run

TEXT = '''"""Which learning rate?"""

from gpt_jax.sweeps import Experiment, Range, Size
from tests import tiny_runs


def get_experiment():
  return Experiment(
    base='base',
    rows={'base': {}, 'wide': {'model.d_model': 64}},
    overrides=tiny_runs.TINY | {'train.steps': 18},
    search={
      RANGES
    },
    sizes={'quick': Size('two CPU cores', 1, seeds=(3, 4))},
  )
'''
RANGES = (
  "'optimizer.learning_rate': Range(1e-4, 1.0, log=True),",
  "'schedule.warmup_steps': Range(0, 8),",
)
GRID = (
  "'optimizer.learning_rate': Range(0, 0, choices=(1e-3, 1e-2)),",
  "'schedule.warmup_steps': Range(0, 2),",
)


def write(folder, ranges=RANGES, text=TEXT):
  """Returns the path of an experiment file with these lines of `search=`."""
  path = pathlib.Path(folder) / 'rates.py'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text.replace('      RANGES', '      ' + '\n      '.join(ranges)))
  return path


def open_search(folder, ranges=RANGES, text=TEXT, **options):
  """Returns the Search of an experiment file in `folder`; by default TPE, 6 trials."""
  path = write(folder, ranges, text)
  options = dict(sampler='tpe', num_trials=6) | options
  return search.open_search(path, workdir=pathlib.Path(folder) / 'runs', **options)


class Silent:
  """A Display that shows nothing and remembers which trials were begun."""

  def __init__(self):
    self.begun, self.taken_up, self.num_waits = [], [], 0

  def started(self, number, values, was_taken_up):
    (self.taken_up if was_taken_up else self.begun).append(number)

  def stepped(self, step, total):
    pass

  def ended(self, number, ended):
    pass

  def waiting(self):
    self.num_waits += 1


def bowl(point, reporter, metric, rungs, on_step):
  """Returns the Ended of a run whose loss is least at a learning rate of 1e-2."""
  rate = point.config.optimizer.learning_rate
  loss = 1 + abs(rate - 1e-2)
  for step in rungs:
    if reporter.is_bad(loss, step):
      return trial_run.Ended(trial_run.PRUNED, loss, step)
  return trial_run.Ended(trial_run.COMPLETE, loss, 18)
