"""Runs in a bucket: killed in the middle of saves, failing requests, no network."""

import collections
import re
import signal
import time
import uuid

from gpt_jax import cli
from gpt_jax.checkpoints import integrity
from gpt_jax.storage import objects
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.faults import buckets, processes, runs
from tests.faults.runs import Command, Progress

SMALL = tiny_runs.ONE_LAYER | {'model.d_model': 16, 'checkpoint.every_steps': 20}
OUTAGES = (20, 180)  # seconds


def kill_while_saving(count, rng, folder, scheme='gs'):
  """SIGKILL to `gpt-jax train` while it saves into a bucket; resumed each time."""
  bucket, text = buckets.open_bucket(scheme), runs.write_text(folder)
  reference = _reference(folder, text)
  outcomes, wrong, ended = collections.Counter(), [], 0
  while sum(outcomes.values()) < count and not runs.is_over():
    run, ended, before = _new(bucket, f'kills_{ended}'), ended + 1, Progress(0, 0)
    while sum(outcomes.values()) < count and not runs.is_over():
      moment, before, problems = _kill_once(bucket, run, text, before, folder, rng)
      wrong += problems
      if moment is None:  # it came to its end before the kill
        break
      outcomes[moment] += 1
    wrong += _finish(bucket, run, text, reference, folder)
  good = f'{ended} run(s) ended bit-equal, every step left was valid each time'
  return runs.row(
    f'SIGKILL to `gpt-jax train` while it saves into {scheme}://', outcomes,
    not wrong, '\n'.join(wrong) or good,
  )  # fmt: skip


def _kill_once(bucket, run, text, before, folder, rng):
  """Returns (outcome or None, progress, what is wrong) of a start that is killed."""
  program = _start(bucket, run, text, folder)
  checkpoints = Workdir(run).checkpoints

  def is_saving():

    return _unfinished(checkpoints) and Progress.of(run).saved > before.saved

  program.wait_until(is_saving, every=0.02)
  time.sleep(rng.uniform(0, 0.5))
  code, output = program.end(signal.SIGKILL), program.output()
  now = Progress.of(run)
  wrong = processes.wrong_start(output, before)
  if code not in (0, -signal.SIGKILL):
    wrong.append(f'a start ended with {code}: {output[-600:]}')
  if now.saved < before.saved:
    wrong.append(f'went back from step {before.saved} to {now.saved}')
  if before.saved and 'took over the lock' not in output:
    wrong.append(f'the lock of the killed process: {output[-600:]}')
  if cli.main(['checkpoint', 'verify', f'--workdir={run}']):
    wrong.append(f'a step is not valid, of {integrity.committed(checkpoints)}')
  is_half = bool(_unfinished(checkpoints))
  outcome = 'left an unfinished step' if is_half else 'left whole steps alone'
  return (None if code == 0 else outcome), now, wrong


def fail_one_request_in_ten(count, rng, folder, scheme='gs'):
  """Whole runs in a bucket of which one request in ten fails, in all ways in turn."""
  bucket, text = buckets.open_bucket(scheme), runs.write_text(folder)
  reference, fields = _reference(folder, text), {'checkpoint.every_steps': 100}
  outcomes, wrong, slowest = collections.Counter(), [], 0.0
  for number in range(count):
    run, since = _new(bucket, f'requests_{number}'), time.monotonic()
    requests, failed = bucket.faults.requests, bucket.faults.failed
    bucket.faults.every = 10
    program = _start(bucket, run, text, folder, **fields)
    code = program.end(seconds=1200)
    bucket.faults.every = 0
    slowest = max(slowest, time.monotonic() - since)
    requests = bucket.faults.requests - requests
    failed = bucket.faults.failed - failed
    wrong += _end_problems(code, program, run, reference)
    outcomes['bit-equal' if not wrong else 'DIFFERENT'] += 1
  good = f'{failed} of {requests} requests of a run; at most {slowest:.0f} s for it'
  return runs.row(
    f'one request in ten to {scheme}:// fails: 429, 500, 503, cut connection',
    outcomes, not wrong, '\n'.join(wrong) or good,
  )  # fmt: skip


def lose_the_network(count, rng, folder, scheme='gs'):
  """The bucket is out of reach for 20 s and for 3 minutes in the middle of a run."""
  bucket, text = buckets.open_bucket(scheme), runs.write_text(folder)
  reference = _reference(folder, text)
  outcomes, wrong, said = collections.Counter(), [], ''
  for number in range(count):
    run, seconds = _new(bucket, f'network_{number}'), OUTAGES[number % len(OUTAGES)]
    program = _start(bucket, run, text, folder)
    saves = rng.randrange(20, 100)
    if not program.wait_until(lambda r=run, s=saves: Progress.of(r).saved >= s):
      wrong.append(f'no step {saves} was saved: {program.output()[-600:]}')
    before = Progress.of(run)
    with bucket.out_of_reach():
      time.sleep(seconds)
    is_alive = program.is_running()
    code = program.end(seconds=600)
    problems = _end_problems(code, program, run, reference)
    if Progress.of(run).saved < before.saved:
      problems.append(f'went back from step {before.saved}')
    wrong += problems
    end = 'ended bit-equal' if is_alive and not problems else 'ENDED OTHERWISE'
    outcomes[f'{seconds} s: {end}'] += 1
    answers = re.findall(r'.* answers again, .*', program.output())
    said = answers[-1] if answers else said
  return runs.row(
    f'{scheme}:// is out of reach in the middle of a run', outcomes, not wrong,
    '\n'.join(wrong) or said,
  )  # fmt: skip


def _reference(folder, text):
  """Returns the workdir, on the disk, of a run that nothing interrupts."""
  runs.finish([*runs.GPT_JAX, *_command(folder / 'reference', text)])
  return folder / 'reference'


def _command(workdir, text, **fields):
  return runs.train_command(workdir, text, **SMALL | fields)


def _new(bucket, name):
  return f'{bucket.root}/{uuid.uuid4().hex[:8]}/{name}'


def _start(bucket, run, text, folder, **fields):
  command = [*runs.GPT_JAX, *_command(run, text, **fields)]
  environment = bucket.environment | {'GPT_JAX_SCRATCH': str(folder / 'scratch')}
  return Command(command, folder / 'output.txt', environment)


def _finish(bucket, run, text, reference, folder):
  """Returns what is wrong once a run has gone on to its end."""
  program = _start(bucket, run, text, folder)
  return _end_problems(program.end(seconds=600), program, run, reference)


def _end_problems(code, program, run, reference):
  if code:
    return [f'{run} ended with {code}: {program.output()[-1200:]}']
  wrong = []
  if not runs.is_same_end(run, reference):
    wrong.append(f'{run}: the end differs')
  if tiny_runs.lines(run) != tiny_runs.lines(reference):
    wrong.append(f'{run}: other lines of metrics')
  if cli.main(['checkpoint', 'verify', f'--workdir={run}']):
    wrong.append(f'{run}: a step is not valid')
  return wrong


def _unfinished(checkpoints):
  """Returns the steps of which objects are there, but not the last one."""
  named = {int(n) for n in objects.names_in(checkpoints) if n.isdecimal()}
  return sorted(named - set(integrity.committed(checkpoints)))
