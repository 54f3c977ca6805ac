"""The fault lane: each fault many times, and the matrix of what came of it.

  make faults                                      the whole size, an hour or two
  python tests/faults/__main__.py --scale=0.05 --only=kills,soak --json=faults.json

A row has the fault, how often it was tried, the outcomes, whether nothing was lost, and
a message that was shown. Faults come from outside: signals to real command lines, bits
flipped in files, values put into configs. The exit code is 1 when something was lost.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import random
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault('GPT_JAX_CACHE', str(ROOT / '.cache' / 'xla'))
os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0'

from gpt_jax.commands import host  # noqa: E402

host.tune_malloc()  # as `gpt-jax train` does, before jax is there

import jax  # noqa: E402

from gpt_jax.workdir.provenance import git_state  # noqa: E402
from tests import tiny_runs  # noqa: E402
from tests.config import config_faults  # noqa: E402
from tests.faults import (  # noqa: E402
  disk,  # noqa: E402
  flips,  # noqa: E402
  kills,  # noqa: E402
  processes,  # noqa: E402
  runs,  # noqa: E402
  signals,  # noqa: E402
  soak,  # noqa: E402
)

LONGEST_VALUE_SECONDS = 120


def tokens(count, rng, folder):
  """Flips a bit in the kept tokens, then reads every sample."""
  import numpy as np

  from gpt_jax.core.errors import DataError
  from gpt_jax.program import setup

  text = runs.text_in(folder)
  config = tiny_runs.tiny_config(tiny_runs.TEXT | {'data.path': str(text)})

  def samples():
    tokenizer = setup.open_tokenizer(config, folder)
    data = setup.open_training_data(config, tokenizer, folder)
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
  return runs.row('a bit of the kept tokens flipped', outcomes, is_good, message)


def configs(share, rng, folder):
  """Every field of every shipped config (or a share of them) with hostile values."""

  def tries():
    for spec, values in config_faults.shipped().items():
      for field in config_faults.fields():
        if rng.random() >= share:
          continue
        for name, value in config_faults.VALUES.items():
          for form in (value, str(value)):
            yield f'{spec}: {field}={name}', *config_faults.door(values, field, form)

  return judged('hostile values at the config door', tries())


def values(share, rng, folder):
  """What passes the door has to train a step, or be refused by name, soon."""

  def tries():
    base = config_faults.load.to_dict(tiny_runs.tiny_config())
    for field in config_faults.fields():
      jax.clear_caches()  # each value makes programs of its own
      for name, value in (config_faults.VALUES | {'link': 'link'}).items():
        passed = config_faults.door(base, field, value)[0] == 'passed'
        if not passed or rng.random() >= share:
          continue
        with runs.within(LONGEST_VALUE_SECONDS):
          yield f'{field}={name}', *config_faults.run(field, value)

  return judged('hostile values that pass the door, trained', tries())


def judged(fault, tries):
  """Returns the row of `tries`: (value, outcome, what was said) of each."""
  outcomes, message, found = collections.Counter(), '', []
  for value, outcome, said in tries:
    outcomes[outcome] += 1
    if outcome in config_faults.BUGS:
      found.append(f'{value}: {outcome} {said[-600:]}')
    elif outcome == 'refused':
      message = message or said
  return runs.row(fault, outcomes, not found, '\n'.join(found) or message)


def with_seed(make):
  """Returns a row maker from one that takes a seed and makes its own folder."""
  return lambda count, rng, folder: make(count, rng.randrange(999))


LANES = {
  'kills': (processes.kills, 200),
  'saves': (with_seed(kills.run_kills), 200),
  'processes': (processes.processes, 20),
  'signals': (signals.signals, 30),
  'flips': (with_seed(flips.run_flips), 1000),
  'tokens': (tokens, 1000),
  'disk': (with_seed(disk.run_disk), 20),
  'configs': (configs, 1.0),
  'values': (values, 1.0),
  'soak': (soak.soak, 2000),
}
"""Name -> (row maker, its full size): tries, a share of the fields, or steps."""


def main(argv=None):
  options = _parse(argv)
  rows, start, commit = [], time.monotonic(), (git_state(ROOT) or {}).get('commit')
  if options.minutes:
    runs.ENDS_AT[0] = start + 60 * options.minutes
  for name in options.only:
    make, size = LANES[name]
    size = size * options.scale if isinstance(size, float) else size
    size = size if isinstance(size, float) else max(1, round(size * options.scale))
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix='gpt_jax_faults_') as folder:
      found = make(size, rng, pathlib.Path(folder))
    rows.append(found)
    print(shown(found), flush=True)
  report = dict(
    commit=commit,
    machine=f'{platform.machine()}, {os.cpu_count()} cores, {platform.system()}',
    seconds=round(time.monotonic() - start),
    rows=rows,
  )
  if options.json:
    pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + '\n')
  print(f'{len(rows)} faults in {report["seconds"]} s at {commit}')
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
  parser.add_argument(
    '--minutes', type=float, help='then kills and processes try no more'
  )
  parser.add_argument('--json', metavar='FILE', help='write the matrix there')
  options = parser.parse_args(argv)
  options.only = options.only.split(',')
  if unknown := set(options.only) - set(LANES):
    parser.error(f'--only: no lane {", ".join(unknown)}; there are {", ".join(LANES)}')
  return options


if __name__ == '__main__':
  sys.exit(main())
