"""The fault lane: each fault many times, and the matrix of what came of it.

  make faults                                      the whole size, an hour or two
  python tests/faults.py --scale=0.05 --only=kills,soak --json=faults.json

A row has the fault, how often it was tried, the outcomes, whether nothing was lost, and
a message that was shown. Faults come from outside: signals to real command lines, bits
flipped in files, values put into configs. The exit code is 1 when something was lost.
"""

import argparse
import collections
import importlib.util
import json
import os
import pathlib
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault('GPT_JAX_CACHE', str(ROOT / '.cache' / 'xla'))
os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0'

import config_faults  # noqa: E402  (the environment above has to come first)
import fault_soak  # noqa: E402
import tiny_runs  # noqa: E402

from gpt_jax.workdir import Workdir, git_state  # noqa: E402
from launch import supervision  # noqa: E402

STEPS, SAVE_EVERY = 400, 5
SHOWN = 300  # characters of a message


def row(fault, outcomes, is_good, message=''):
  """Returns a row of the matrix; `outcomes` counts what each try came to."""
  return dict(
    fault=fault,
    tries=sum(outcomes.values()),
    outcomes=dict(outcomes),
    nothing_lost=bool(is_good),
    message=message.strip()[:SHOWN],
  )


# Processes that end


def train_command(workdir, text, **fields):
  overrides = tiny_runs.TEXT | {
    'data.path': str(text), 'train.steps': STEPS, 'checkpoint.every_steps': SAVE_EVERY,
    'checkpoint.keep_last': 2, 'eval.sets': {}, 'eval.every_steps': 0,
  }  # fmt: skip
  return ['train', *tiny_runs.flags(overrides | fields), f'--workdir={workdir}']


def finish(command):
  """Runs a command line to its end; fails when it does not end well."""
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return done


def same_end(one, other):
  """Returns whether two runs ended in the same bits, and made the same losses."""
  try:
    tiny_runs.assert_same(tiny_runs.saved_arrays(one), tiny_runs.saved_arrays(other))
  except AssertionError:
    return False
  return tiny_runs.losses(one) == tiny_runs.losses(other)


def kills(count, rng, folder):
  """SIGKILL to `gpt-jax train` at random moments, until it has ended all the same."""
  text = folder / 'words.txt'
  text.write_text(tiny_runs.words(40_000))
  python = [sys.executable, '-m', 'gpt_jax']
  finish([*python, *train_command(folder / 'whole', text)])
  outcomes, is_good, round_ = collections.Counter(), True, 0
  while sum(outcomes.values()) < count:
    run, saved, round_ = folder / f'run_{round_}', 0, round_ + 1
    while sum(outcomes.values()) < count:
      process = subprocess.Popen(
        [*python, *train_command(run, text)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
      )  # fmt: skip
      moment = _random_moment(process, run, saved, rng)
      if process.poll() is None:
        process.kill()
      complaint = process.communicate()[1]
      if process.returncode not in (0, -signal.SIGKILL):
        outcomes[f'start refused: {complaint[-200:]}'] += 1
        is_good = False
        break
      if process.returncode == 0:
        break
      now = supervision.Reached.of(run).saved or 0
      outcomes[f'killed {moment}, went on'] += 1
      is_good &= now >= saved
      saved = now
    finish([*python, *train_command(run, text)])
    equal = same_end(run, folder / 'whole')
    is_good &= equal
    if not equal:
      outcomes['end differs'] += 1
  message = f'resumed from step {saved}; the end is bit-equal in {round_} run(s)'
  return row('SIGKILL at a random moment', outcomes, is_good, message)


def _random_moment(process, run, saved, rng):
  """Waits for a random moment of a start; returns its name."""
  if rng.random() < 0.2:
    _wait(process, rng.uniform(0, 6))
    return 'while starting'
  while process.poll() is None and (supervision.Reached.of(run).saved or 0) <= saved:
    time.sleep(0.002)
  if rng.random() < 0.5:  # inside a commit: an unfinished folder stands there
    deadline = time.monotonic() + 3
    while process.poll() is None and time.monotonic() < deadline:
      if any('tmp' in p.name for p in Workdir(run).checkpoints.glob('*')):
        break
    return 'during a save'
  _wait(process, rng.uniform(0, 0.5))
  return 'while training'


def _wait(process, seconds):
  try:
    process.wait(seconds)
  except subprocess.TimeoutExpired:
    pass


def processes(count, rng, folder):
  """SIGKILL and SIGSTOP to a process of two, under --supervise."""
  text = folder / 'words.txt'
  text.write_text(tiny_runs.words(40_000))
  head = [sys.executable, str(ROOT / 'launch' / 'local.py'), '--processes=2']
  head += ['--devices_per_process=1', '--stop_seconds=1']
  steps = {'train.steps': 100}
  finish([*head, '--', *train_command(folder / 'whole', text, **steps)])
  outcomes, is_good, message = collections.Counter(), True, ''
  for number in range(count):
    run = folder / f'run_{number}'
    victim, kind = number % 2, (signal.SIGKILL, signal.SIGSTOP)[number // 2 % 2]
    launcher = subprocess.Popen(
      [*head, '--supervise', '--restart_seconds=0.1', '--hang_seconds=40', '--']
      + train_command(run, text, **steps),
      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = []
    for line in launcher.stderr:
      said.append(line)
      if found := re.search(r'launch: process ids ([\d ]+)', line):
        break
    target = rng.randrange(5, 60)
    while launcher.poll() is None and (supervision.Reached.of(run).step or 0) < target:
      time.sleep(0.01)
    os.kill(int(found[1].split()[victim]), kind)
    said += launcher.communicate()[1].splitlines(keepends=True)
    message = next((line for line in said if 'Restart 1' in line), message)
    equal = launcher.returncode == 0 and same_end(run, folder / 'whole')
    who = ('coordinator', 'worker')[victim]
    outcomes[f'{kind.name} of the {who}: ' + ('recovered' if equal else 'LOST')] += 1
    is_good &= equal
  fault = 'a process of two dies or hangs, --supervise'
  return row(fault, outcomes, is_good, message)


# Files and values


def tokens(count, rng, folder):
  """Flips a bit in the kept tokens, then reads every sample."""
  import numpy as np

  from gpt_jax.errors import DataError
  from gpt_jax.train import assembly

  text = folder / 'words.txt'
  text.write_text(tiny_runs.words(40_000))
  config = tiny_runs.tiny_config(tiny_runs.TEXT | {'data.path': str(text)})

  def samples():
    tokenizer = assembly.open_tokenizer(config, folder)
    data = assembly.open_training_data(config, tokenizer, folder)
    return np.stack([data.sample(n)['tokens'] for n in range(len(data))])

  whole, outcomes, message = samples(), collections.Counter(), ''
  (kept,) = (folder / 'cache').iterdir()
  for _ in range(count):
    path = rng.choice(sorted(kept.iterdir()))
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
      outcome = 'changed nothing' if (samples() == whole).all() else 'SILENT'
    except DataError as error:
      message, outcome = str(error), 'noticed, file named'
      outcome = outcome if str(path) in message else 'noticed, NOT NAMED'
    outcomes[outcome] += 1
    path.write_bytes(content)
  is_good = not any(name.isupper() or 'NOT' in name for name in outcomes)
  return row('a bit of the kept tokens flipped', outcomes, is_good, message)


def configs(share, rng, folder):
  """Every field of every shipped config (or a share of them) with hostile values."""
  outcomes, message = collections.Counter(), ''
  for values in config_faults.shipped().values():
    for field in config_faults.fields():
      if rng.random() > share:
        continue
      for value in config_faults.VALUES.values():
        for form in (value, str(value)):
          outcome, said = config_faults.door(values, field, form)
          outcomes[outcome] += 1
          if outcome in config_faults.BUGS or (outcome == 'refused' and not message):
            message = said
  is_good = not any(outcomes[bug] for bug in config_faults.BUGS)
  return row('hostile values at the config door', outcomes, is_good, message)


def values(share, rng, folder):
  """What passes the door has to train a step, or be refused by name."""
  outcomes, message = collections.Counter(), ''
  base = config_faults.config_door.to_dict(tiny_runs.tiny_config())
  for field in config_faults.fields():
    for value in [*config_faults.VALUES.values(), 'link']:
      if config_faults.door(base, field, value)[0] != 'passed':
        continue
      if rng.random() < share:
        outcome, said = config_faults.run(field, value)
        outcomes[outcome] += 1
        if outcome in config_faults.BUGS:
          message = f'{field}={value!r}: {said[-200:]}'
  is_good = not any(outcomes[bug] for bug in config_faults.BUGS)
  return row('hostile values that pass the door, trained', outcomes, is_good, message)


def lent(module, function):
  """Returns a row maker of another test file, or one that says it is not there."""

  def make(count, rng, folder):
    if importlib.util.find_spec(module) is None:
      return None
    return getattr(importlib.import_module(module), function)(count, rng.randrange(999))

  return make


LANES = {
  'kills': (kills, 200),
  'saves': (lent('fault_kills', 'run_kills'), 200),
  'processes': (processes, 20),
  'flips': (lent('fault_flips', 'run_flips'), 1000),
  'tokens': (tokens, 1000),
  'disk': (lent('fault_disk', 'run_disk'), 20),
  'configs': (configs, 1.0),
  'values': (values, 1.0),
  'soak': (fault_soak.soak, 2000),
}
"""Name -> (row maker, its full size): tries, a share of the fields, or steps."""


def main(argv=None):
  options = _parse(argv)
  rows, start = [], time.monotonic()
  for name in options.only:
    make, size = LANES[name]
    size = size * options.scale if isinstance(size, float) else size
    size = size if isinstance(size, float) else max(1, round(size * options.scale))
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix='gpt_jax_faults_') as folder:
      found = make(size, rng, pathlib.Path(folder))
    if found is None:
      print(f'{name}: not in this tree', flush=True)
      continue
    rows.append(found)
    print(shown(found), flush=True)
  report = dict(
    commit=(git_state(ROOT) or {}).get('commit'),
    machine=f'{platform.machine()}, {os.cpu_count()} cores, {platform.system()}',
    seconds=round(time.monotonic() - start),
    rows=rows,
  )
  if options.json:
    pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + '\n')
  print(f'{len(rows)} faults in {report["seconds"]} s at {report["commit"]}')
  return 0 if all(found['nothing_lost'] for found in rows) else 1


def shown(found):
  """Returns a row as a line of a Markdown table."""
  outcomes = ', '.join(f'{count} {name}' for name, count in found['outcomes'].items())
  lost = 'yes' if found['nothing_lost'] else '**NO**'
  message = found['message'].replace('\n', ' ').replace('|', '/')
  return f'| {found["fault"]} | {found["tries"]} | {outcomes} | {lost} | {message} |'


def _parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--scale', type=float, default=1.0, help='of tries, default: 1')
  parser.add_argument('--only', default=','.join(LANES), help='lanes, with commas')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--json', metavar='FILE', help='write the matrix there')
  options = parser.parse_args(argv)
  options.only = options.only.split(',')
  if unknown := set(options.only) - set(LANES):
    parser.error(f'--only: no lane {", ".join(unknown)}; there are {", ".join(LANES)}')
  return options


if __name__ == '__main__':
  sys.exit(main())
