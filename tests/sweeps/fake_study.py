"""Studies whose runs nobody has trained: workdirs with numbers written by hand."""

import datetime
import json
import pathlib

from gpt_jax.config import load
from gpt_jax.sweeps import Experiment, Size, expansion, points, states
from gpt_jax.sweeps.points import Study
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
STEPS = 6
VOCAB_SIZE = 64
ROWS = {'base': {}, 'ours': {'optimizer.weight_decay': 0.5}}
DOCSTRING = '''"""Does the fake method help?

A question that no run has answered.
"""
'''


def experiment(*, seeds=(0, 1, 2), sweep=({},), only_rows=(), **fields):
  """Returns an Experiment of tiny runs, its rows `base` and `ours`."""
  size = Size('two CPU cores', 1, seeds, sweep=sweep, only_rows=only_rows)
  fields = {
    'base': 'base',
    'rows': ROWS,
    'overrides': tiny_runs.TINY | {'train.steps': STEPS},
    'sizes': {'quick': size},
  } | fields
  return Experiment(**fields)


def make(folder, loss=None, text=DOCSTRING, **fields):
  """Returns a Study in `folder`, of `experiment(**fields)`.

  `loss`: `point -> float` of its final validation loss, or None where it has not run;
  without it no point is finished.
  """
  folder = pathlib.Path(folder)
  path = folder / 'fake.py'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  made, place = experiment(**fields), folder / 'runs' / 'fake' / 'quick'
  found = expansion.expand(made, 'quick', place)
  assert not found.mistakes, found.mistakes
  run, duplicates = points.points_of(found, place)
  study = Study(path, made.at('quick'), 'quick', place, run, duplicates)
  for point in study.points:
    if loss is not None and (value := loss(point)) is not None:
      finish(point, {'validation': {'loss': value}})
  return study


def finish(point, evaluation, *, start=0.0, seconds=60.0, commit='c0ffee' * 6 + 'c0ff'):
  """Writes the workdir of a finished run with the final `{set: {metric: value}}`.

  Each metric falls from its double to its final value over STEPS steps; the run starts
  `start` seconds after BEGIN and takes `seconds`.
  """
  workdir = Workdir(point.workdir)
  (workdir.checkpoints / str(STEPS)).mkdir(parents=True, exist_ok=True)
  config = load.to_dict(point.config)
  config['model']['vocab_size'] = VOCAB_SIZE  # a run fills it in, by its tokenizer
  _write(workdir.config, config)
  _write(workdir.eval, {'step': STEPS} | evaluation)
  begin = BEGIN + datetime.timedelta(seconds=start)
  _write(workdir.run, {'starts': [_start(begin, commit)], 'events': []})
  lines = []
  for step in range(1, STEPS + 1):
    line = {
      'step': step,
      'tokens': 128 * step,
      'time': begin.timestamp() + seconds * step / STEPS,
    }
    for name, metrics in evaluation.items():
      line |= {f'{name}/{k}': v * (2 - step / STEPS) for k, v in metrics.items()}
    lines.append(json.dumps(line) + '\n')
  workdir.metrics.write_text(''.join(lines))


def diverge(point):
  """Makes a finished run one that has diverged before its end."""
  workdir = Workdir(point.workdir)
  (workdir.checkpoints / str(STEPS)).rmdir()
  workdir.eval.unlink()
  states.write_failure(point, 'train/loss=nan', exit_code=6)


def _start(begin, commit):
  return {
    'time': begin.isoformat(),
    'git': {'commit': commit, 'dirty': False},
    'hostname': 'here',
    'devices': {'platform': 'cpu', 'kind': 'cpu', 'count': 1},
    'step': 0,
  }


def _write(path, value):
  path.write_text(json.dumps(value))
