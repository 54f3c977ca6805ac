"""Processes that are killed or hang, one alone or one of two, at random moments."""

import collections
import os
import re
import signal
import time

from gpt_jax.workdir.paths import Workdir
from tests.faults import kills, runs
from tests.faults.runs import SAVE_EVERY, Command, Progress

MAX_LOST = 2 * SAVE_EVERY  # the steps since the last save, and one save under way
PAIR_STEPS, PAIR_LAST = 80, 60
HANG_SECONDS = 60  # more than a start on a busy machine


def kill_trainings(count, rng, folder):
  """SIGKILL to `gpt-jax train` at random moments, until each run ends all the same."""
  text, reference = runs.write_text(folder), folder / 'reference'
  runs.finish([*runs.GPT_JAX, *runs.train_command(reference, text)])
  outcomes, wrong, most, ended = collections.Counter(), [], 0, 0
  while sum(outcomes.values()) < count and not runs.is_over():
    run, ended, before = folder / f'run [{ended}]', ended + 1, Progress(0, 0)
    while sum(outcomes.values()) < count and not runs.is_over():
      moment, now, problems = _kill_once(run, text, before, reference, rng)
      wrong += problems
      if moment is None:  # it came to its end before the kill
        break
      outcomes[f'killed {moment}'] += 1
      before, most = now, max(most, now.step - now.saved)
    runs.finish([*runs.GPT_JAX, *runs.train_command(run, text)])
    if not runs.is_same_end(run, reference):
      wrong.append(f'{run.name}: the end differs')
  good = f'{ended} run(s) ended bit-equal; at most {most} steps were repeated'
  return runs.row(
    'SIGKILL to `gpt-jax train` at a random moment',
    outcomes,
    not wrong,
    '\n'.join(wrong) or good,
  )


def _kill_once(run, text, before, reference, rng):
  """Returns (moment or None, progress, what is wrong) of a start that is killed."""
  command = [*runs.GPT_JAX, *runs.train_command(run, text)]
  program = Command(command, run.with_name('output.txt'))
  is_early = rng.random() < 0.2
  if is_early:
    program.wait_until(lambda: False, rng.uniform(0, 6))
  else:
    program.wait_until(lambda: Progress.of(run).saved > before.saved)
    if rng.random() < 0.5:  # inside a save: there is an unfinished folder
      program.wait_until(lambda: is_saving(run), 3)
      time.sleep(rng.uniform(0, 0.1))
    else:
      time.sleep(rng.uniform(0, 0.5))
  code, output = program.end(signal.SIGKILL), program.output()
  now, wrong = Progress.of(run), []
  if code not in (0, -signal.SIGKILL):
    wrong.append(f'a start ended with {code}: {output[-600:]}')
  if now.saved < before.saved:
    wrong.append(f'went back from step {before.saved} to {now.saved}')
  if now.step - now.saved > MAX_LOST:
    wrong.append(f'{now.step - now.saved} steps lost: {now}')
  wrong += wrong_start(output, before) + runs.damaged_steps(run)
  if not runs.is_same_so_far(run, reference):
    wrong.append(f'other losses than an uninterrupted run, up to step {now.step}')
  if code == 0:
    return None, now, wrong
  if is_early and now.saved == before.saved:
    return 'while starting', now, wrong
  state = kills.left_behind(Workdir(run).checkpoints)
  return {'nothing': 'between saves'}.get(state, f'with {state}'), now, wrong


def wrong_start(output, before):
  """Returns a line when a start did not resume from the latest save."""
  found = re.search(r'resumed from step (\d+)|(fresh) parameters', output)
  if found and int(found[1] or 0) != before.saved:
    return [f'{found[0]!r}, but step {before.saved} had been saved']
  return []


def is_saving(run):
  return any('tmp' in path.name for path in Workdir(run).checkpoints.glob('*'))


def lose_one_of_two(count, rng, folder):
  """SIGKILL and SIGSTOP to a process of two, under --supervise."""
  text, reference = runs.write_text(folder), folder / 'reference'
  launch = [*runs.GPT_JAX, 'launch', '--processes=2', '--devices_per_process=1']
  launch += ['--stop_seconds=1']
  steps = {'train.steps': PAIR_STEPS}
  runs.finish([*launch, '--', *runs.train_command(reference, text, **steps)])
  launch += ['--supervise', '--restart_seconds=0.1', f'--hang_seconds={HANG_SECONDS}']
  outcomes, wrong, longest, message = collections.Counter(), [], {}, ''
  for number in range(count):
    if runs.is_over():
      break
    run = folder / f'run_{number}'
    victim, kind = number % 2, (signal.SIGKILL, signal.SIGSTOP)[number // 2 % 2]
    fault = f'{kind.name} of the {("coordinator", "worker")[victim]}'
    command = [*launch, '--', *runs.train_command(run, text, **steps)]
    launcher = Command(command, folder / 'output.txt')
    target = rng.randrange(5, PAIR_LAST)
    if not launcher.wait_until(
      lambda r=run, t=target: Progress.of(r).step >= t, 600, every=0.01
    ):
      launcher.end(signal.SIGTERM)
      wrong.append(f'no step {target}: {launcher.output()[-3000:]}')
      outcomes['never began'] += 1
      continue
    seconds = _signal_one(launcher, run, victim, kind)
    code, output = launcher.end(), launcher.output()
    restarts = re.findall(r'.*Restart \d.*', output)
    if code or len(restarts) != 1 or not runs.is_same_end(run, reference):
      wrong.append(f'{fault}: exit code {code}, {restarts}, {output[-600:]}')
      fault += ': LOST'
    outcomes[fault] += 1
    longest[kind.name] = max(longest.get(kind.name, 0), seconds)
    message = next((line for line in restarts if 'hung' in line), message)
  took = ', '.join(f'{kind} at most {s:.0f} s' for kind, s in longest.items())
  return runs.row(
    'a process of two dies or hangs, --supervise',
    outcomes,
    not wrong,
    '\n'.join(wrong) or f'metrics of the next start after {took}; {message}',
  )


def _signal_one(launcher, run, victim, kind):
  """Signals a process; returns the seconds until the next start writes metrics."""
  pids = re.findall(r'process ids ([\d ]+)', launcher.output())[-1]
  metrics = Workdir(run).metrics
  before, since = metrics.stat().st_ino, time.monotonic()
  os.kill(int(pids.split()[victim]), kind)

  def has_resumed():
    return metrics.stat().st_ino != before and Progress.of(run).step > 0

  launcher.wait_until(has_resumed, every=0.05)
  return time.monotonic() - since
