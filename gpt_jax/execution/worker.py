"""A worker process of a sweep: trains the points that its standard input names.

The first line in names a JSON file with the configs of the study, by which points share
programs. Each other one is a JSON object with name, workdir and config of a point; the
line out has its outcome. What one point has compiled serves the next ones.
"""

import json
import os
import queue
import signal
import threading

from gpt_jax.config import load
from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt
from gpt_jax.program import setup
from gpt_jax.program.shared import SharedPrograms
from gpt_jax.storage.places import place
from gpt_jax.sweeps.points import Point

READY, INTERRUPTED = 'ready', 'interrupted'


def as_task(point):
  """Returns the line that makes a worker train `point`."""
  task = dict(
    name=point.name,
    workdir=str(point.workdir),
    needs=list(point.needs),
    config=load.to_dict(point.config),
  )
  return json.dumps(task) + '\n'


def write_configs(points, file):
  """Writes the configs of `points`, those of one but for its seed once."""
  configs = {}
  for point in points:
    config = load.to_dict(point.config)
    config['seed'] = config['data']['seed'] = 0
    configs[json.dumps(config)] = None
  file.write(f'[{",".join(configs)}]'.encode())
  file.flush()


def read_configs(path):
  """Returns the configs that `write_configs` has written."""
  with open(path, encoding='utf-8') as file:
    return [setup.resolve(values) for values in json.load(file)]


def main(cores=()):
  """Returns the exit code of a worker, whose tasks come in on standard input.

  `cores`: the only ones to use; (): all. To be called before devices are initialized.
  """
  if cores:
    os.sched_setaffinity(0, cores)
  # Standard output is for answers: what libraries print there goes with the errors.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  code = serve(os.fdopen(os.dup(0)), answers)
  # Threads of XLA and TensorStore may be at work still, and crash an orderly exit.
  os._exit(code)


def serve(tasks, answers):
  """Answers each line of the file `tasks` in the file `answers`; returns the exit code.

  That is 75 after SIGTERM, with the present point saved. The end of `tasks` is taken
  for one: the sweep is gone.
  """
  lines = queue.SimpleQueue()
  threading.Thread(target=_read, args=(tasks, lines), daemon=True).start()
  _answer(answers, outcome=READY)
  shared = None
  while line := lines.get():
    if shared is None:
      shared = SharedPrograms(read_configs(json.loads(line)))
      continue
    point = _point(json.loads(line))
    try:
      outcome = attempt.attempt(point, shared.open_program)
    except Interrupted as stop:
      _answer(answers, outcome=INTERRUPTED)
      return stop.exit_code
    _answer(
      answers,
      outcome=outcome.kind,
      why=outcome.why,
      exit_code=outcome.exit_code,
      programs=shared.num_programs,
    )
    shared.release_if_scarce()
  return 0


def _read(tasks, lines):
  for line in tasks:
    lines.put(line)
  lines.put('')
  os.kill(os.getpid(), signal.SIGTERM)


def _point(task):
  return Point(
    name=task['name'],
    workdir=place(task['workdir']),
    row='',
    axes={},
    overrides={},
    config=setup.resolve(task['config']),
    needs=tuple(task['needs']),
  )


def _answer(answers, **values):
  try:
    answers.write(json.dumps(values) + '\n')
    answers.flush()
  except OSError:
    pass  # nobody listens; the workdir says it as well
