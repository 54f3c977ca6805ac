"""Experiment files small enough to train in a test."""

from gpt_jax.sweeps import points
from tests import tiny_runs

OVERRIDES = tiny_runs.TINY | {
  'model.num_layers': 1,
  'model.scan_layers': False,
  'train.steps': 4,
  'eval.every_steps': 0,
  'eval.max_batches': 1,
  'checkpoint.every_steps': 2,
}

FILE = '''"""What is asked."""

from gpt_jax.sweeps import *


def get_experiment():
  return Experiment(
    base='base',
    overrides={overrides},
    rows={rows},
    sizes={{
      'quick': Size('a laptop', minutes=1, seeds={seeds}, sweep={sweep}),
    }},{more}
  )
'''


def write(folder, rows="{'a': {}}", sweep='({},)', seeds='(0,)', more='', name='study'):
  """Returns the path of an experiment file in `folder`; arguments are Python text."""
  path = folder / f'{name}.py'
  text = FILE.format(
    overrides=repr(OVERRIDES), rows=rows, sweep=sweep, seeds=seeds, more=more
  )
  path.write_text(text)
  return path


def study(folder, **parts):
  """Returns the Study of `write(folder, **parts)`, its points in FOLDER/runs."""
  return points.open_study(write(folder, **parts), workdir=folder / 'runs')
