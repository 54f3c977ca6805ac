"""A full disk: a small tmpfs that is filled beside a run and freed again.

`run_disk` returns a row. The tries run in a mount namespace (`unshare`), which needs
root or user namespaces; `namespace()` returns the command, or None without either.

  unshare -Urm python -m tests.faults.disk FOLDER COUNT SEED
"""

import collections
import functools
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.launchers import supervise
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.faults import runs

DISK_MB = 32
STEPS, SAVE_EVERY = 1200, 10
RETRIES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
START_SECONDS = 5.0
"""How soon a run has to refuse a folder that cannot be written."""
CONTINUES = 'Training goes on'


@functools.cache
def namespace():
  """Returns the command that gives a program mounts of its own, or None."""
  mount = ['sh', '-c', 'mount -t tmpfs tmpfs /mnt']
  for command in (['unshare', '-m'], ['unshare', '-Urm']):
    try:
      subprocess.run([*command, *mount], capture_output=True, check=True)
      return command
    except (OSError, subprocess.CalledProcessError):
      pass
  return None


def run_disk(count, seed):
  """Returns the row of `count` fillings of a disk; None where no disk can be made."""
  if namespace() is None:
    print('disk: needs root or user namespaces for a tmpfs', flush=True)
    return None
  with tempfile.TemporaryDirectory(prefix='gpt_jax_disk_') as folder:
    program = [sys.executable, '-m', __name__, folder, str(count), str(seed)]
    done = subprocess.run(
      [*namespace(), *program], stdout=subprocess.PIPE, text=True, cwd=tiny_runs.ROOT
    )
  assert done.returncode == 0, done.stdout
  return json.loads(done.stdout.splitlines()[-1])


# In the namespace


def main(folder, count, seed):
  folder, rng = pathlib.Path(folder), random.Random(int(seed))
  small = folder / 'small'
  small.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', f'size={DISK_MB}m', 'tmpfs', str(small)]
  subprocess.run(mount, check=True)
  runs.write_text(folder)
  reference = folder / 'reference'
  assert start(folder, reference).wait() == 0, (folder / 'log').read_text()
  outcomes, good, message = collections.Counter(), True, ''
  for number in range(int(count)):
    kind = KINDS[number % len(KINDS)]
    outcome, is_good, output = kind(folder, small, reference, rng)
    outcomes[outcome if is_good else f'{kind.__name__.upper()} FAILED: {output}'] += 1
    good &= is_good
    message = output if kind is filled_and_freed else message
    for path in small.iterdir():
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  fault = 'the disk is full, stays full, is read-only (tmpfs)'
  print(json.dumps(runs.row(fault, outcomes, good, message)))


def start(folder, workdir, **overrides):
  """Starts `gpt-jax train`; all that it prints goes to `folder/log`."""
  command = tiny_runs.TEXT | {
    'data.path': str(folder / 'words.txt'), 'train.steps': STEPS,
    'checkpoint.every_steps': SAVE_EVERY, 'checkpoint.keep_last': 1,
    'checkpoint.retry_seconds': RETRIES, 'eval.every_steps': 300, 'eval.max_batches': 1,
    'logging.tensorboard': True, 'logging.sample_prompts': ('a',),
    'logging.sample_every_steps': 100, 'logging.sample_tokens': 4,
  } | overrides  # fmt: skip
  command = ['train', *tiny_runs.flags(command), f'--workdir={workdir}']
  with open(folder / 'log', 'w') as log:
    return subprocess.Popen(
      [*runs.GPT_JAX, *command], stdout=log, stderr=log, cwd=tiny_runs.ROOT
    )


def fill(folder, leave=0):
  """Fills a disk but for `leave` bytes, and what was freed since an earlier call."""
  free = shutil.disk_usage(folder).free - leave
  with open(folder / 'filler', 'ab', buffering=0) as file:
    try:
      while free > 0:
        free -= file.write(b'\0' * min(free, 1 << 20))
      while not leave:
        file.write(b'\0')
    except OSError:
      pass


def remove_filler(folder):
  (folder / 'filler').unlink(missing_ok=True)


def wait_for_save(process, workdir, step):
  while process.poll() is None and (supervise.Reached.of(workdir).saved or 0) < step:
    time.sleep(0.005)


def failure_message(folder):
  """Returns the first save error of the log, and whether it names all that it must."""
  log = (folder / 'log').read_text()
  at = log.find('could not be saved in')
  block = log[log.rfind('step', 0, at) :].strip() if at > 0 else log[-300:]
  block = block.replace(str(folder), '...')
  names = ('step', 'small', 'It takes up to', 'free on that disk', 'is removed')
  is_good = at > 0 and all(name in block for name in names)
  return block[:400], is_good and 'Traceback' not in log


def is_equal(run, reference):
  """Returns whether a run ended with the bits and metrics of an undisturbed one."""
  lines = tiny_runs.lines(run), tiny_runs.lines(reference)
  return runs.is_same_end(run, reference) and lines[0] == lines[1]


def is_restorable(run):
  """Returns whether the folder holds one valid step and nothing half written."""
  folder = Workdir(run).checkpoints
  with CheckpointReader(folder) as store:
    (step,) = store.steps()  # keep_last=1: pruned too early, there would be none
    return store.integrity.find_damage(step) is None and not list(folder.glob('*tmp*'))


def filled_and_freed(folder, small, reference, rng):
  run = small / 'run'
  process = start(folder, run)
  wait_for_save(process, run, rng.randrange(20, 200))
  fill(small)
  before = supervise.Reached.of(run)
  full_seconds = rng.uniform(0.5, 3)
  time.sleep(full_seconds)
  while 'Try ' not in (folder / 'log').read_text() and process.poll() is None:
    time.sleep(0.01)
  remove_filler(small)
  code = process.wait()
  output, is_good = failure_message(folder)
  log = (folder / 'log').read_text()
  is_good &= CONTINUES in log and 'saving works again' in log
  is_good &= code == 0 and before.saved is not None
  return 'freed: continued, bit-equal', is_good and is_equal(run, reference), output


def filled_for_good(folder, small, reference, rng):
  run = small / 'run'
  process = start(folder, run, **{'checkpoint.retry_seconds': (0.1, 0.2)})
  wait_for_save(process, run, rng.randrange(20, 200))
  while process.poll() is None:  # a failed save frees space for the next one
    fill(small)
    time.sleep(0.01)
  code = process.wait()
  output, is_good = failure_message(folder)
  is_good &= code == 5 and 'Gave up' in (folder / 'log').read_text()
  is_good &= is_restorable(run)
  remove_filler(small)
  is_good &= start(folder, run).wait() == 0 and is_equal(run, reference)
  return 'stayed full: exit 5, resumed later, bit-equal', is_good, output


def full_at_the_start(folder, small, reference, rng):
  run = small / 'run'
  fill(small, leave=rng.choice([0, 8192, 40_000]))
  code = start(folder, run).wait()
  output = (folder / 'log').read_text()
  is_good = code == 5 and 'Traceback' not in output and 'error: ' in output
  remove_filler(small)
  is_good &= start(folder, run).wait() == 0 and is_equal(run, reference)
  return 'full at the start: exit 5, started later, bit-equal', is_good, output[-300:]


def read_only(folder, small, reference, rng):
  remount = ['mount', '-o', 'remount,ro', str(small)]
  subprocess.run(remount, check=True)
  began = time.monotonic()
  code = start(folder, small / 'run').wait()
  seconds = time.monotonic() - began
  output = (folder / 'log').read_text()
  subprocess.run([*remount[:2], 'remount,rw', str(small)], check=True)
  is_good = (
    code == 5 and 'Read-only file system' in output and 'Traceback' not in output
  )
  is_good &= seconds < START_SECONDS
  return 'read-only: exit 5 within 5 s', is_good, f'{seconds:.1f} s: {output[-300:]}'


KINDS = (filled_and_freed, filled_for_good, full_at_the_start, read_only)


if __name__ == '__main__':
  main(*sys.argv[1:])
