"""Processes that end without a word: one alone, one of two, at random moments."""

import collections
import os
import re
import signal
import sys
import time

from gpt_jax.workdir.paths import Workdir
from tests.faults import kills as fault_kills
from tests.faults import runs as fault_runs
from tests.faults.runs import SAVE_EVERY, Left

MOST_LOST = 2 * SAVE_EVERY  # the steps since the last save, and one save under way
PAIR_STEPS, PAIR_LAST = 80, 60
HANG_SECONDS = 60  # more than a start on a busy machine


def kills(count, rng, folder):
  """SIGKILL to `gpt-jax train` at random moments, until it has ended all the same."""
  text, whole = fault_runs.text_in(folder), folder / 'whole'
  fault_runs.finish([*fault_runs.TRAIN, *fault_runs.train_command(whole, text)])
  outcomes, wrong, most, runs = collections.Counter(), [], 0, 0
  while sum(outcomes.values()) < count and not fault_runs.is_late():
    run, runs, left = folder / f'run_{runs}', runs + 1, Left(0, 0)
    while sum(outcomes.values()) < count and not fault_runs.is_late():
      moment, now, problems = _kill_once(run, text, left, whole, rng)
      if moment is None:  # it came to its end before the kill
        wrong += problems
        break
      outcomes[f'killed {moment}'] += 1
      wrong += problems
      left, most = now, max(most, now.step - now.saved)
    fault_runs.finish([*fault_runs.TRAIN, *fault_runs.train_command(run, text)])
    if not fault_runs.same_end(run, whole):
      wrong.append(f'{run.name}: the end differs')
  good = f'{runs} run(s) ended bit-equal; at most {most} steps were made again'
  return fault_runs.row(
    'SIGKILL to `gpt-jax train` at a random moment',
    outcomes,
    not wrong,
    '\n'.join(wrong) or good,
  )


def _kill_once(run, text, before, whole, rng):
  """Returns (moment or None, what is left, what is wrong) of a start that is killed."""
  program = fault_runs.Started(
    [*fault_runs.TRAIN, *fault_runs.train_command(run, text)],
    run.with_name('output.txt'),
  )
  is_early = rng.random() < 0.2
  if is_early:
    program.wait_until(lambda: False, rng.uniform(0, 6))
  else:
    program.wait_until(lambda: Left.in_(run).saved > before.saved)
    if rng.random() < 0.5:  # inside a save: an unfinished folder stands there
      program.wait_until(lambda: _is_saving(run), 3)
      time.sleep(rng.uniform(0, 0.1))
    else:
      time.sleep(rng.uniform(0, 0.5))
  code, said = program.end(signal.SIGKILL), program.said()
  now, wrong = Left.in_(run), []
  if code not in (0, -signal.SIGKILL):
    wrong.append(f'a start ended with {code}: {said[-600:]}')
  if now.saved < before.saved:
    wrong.append(f'went back from step {before.saved} to {now.saved}')
  if now.step - now.saved > MOST_LOST:
    wrong.append(f'{now.step - now.saved} steps lost: {now}')
  found = re.search(r'resumed from step (\d+)|(fresh) parameters', said)
  if found and int(found[1] or 0) != before.saved:
    wrong.append(f'{found[0]!r}, but step {before.saved} had been saved')
  wrong += fault_runs.damaged_steps(run)
  if not fault_runs.same_so_far(run, whole):
    wrong.append(f'other losses than an uninterrupted run, up to step {now.step}')
  if code == 0:
    return None, now, wrong
  if is_early and now.saved == before.saved:
    return 'while starting', now, wrong
  state = fault_kills.left_behind(Workdir(run).checkpoints)
  return {'nothing': 'between saves'}.get(state, f'with {state}'), now, wrong


def _is_saving(run):
  return any('tmp' in path.name for path in Workdir(run).checkpoints.glob('*'))


def processes(count, rng, folder):
  """SIGKILL and SIGSTOP to a process of two, under --supervise."""
  text, whole = fault_runs.text_in(folder), folder / 'whole'
  head = [sys.executable, '-m', 'gpt_jax', 'launch', '--processes=2']
  head += ['--devices_per_process=1', '--stop_seconds=1']
  steps = {'train.steps': PAIR_STEPS}
  fault_runs.finish([*head, '--', *fault_runs.train_command(whole, text, **steps)])
  head += ['--supervise', '--restart_seconds=0.1', f'--hang_seconds={HANG_SECONDS}']
  outcomes, wrong, longest, message = collections.Counter(), [], {}, ''
  for number in range(count):
    if fault_runs.is_late():
      break
    run = folder / f'run_{number}'
    victim, kind = number % 2, (signal.SIGKILL, signal.SIGSTOP)[number // 2 % 2]
    who = f'{kind.name} of the {("coordinator", "worker")[victim]}'
    command = [*head, '--', *fault_runs.train_command(run, text, **steps)]
    launcher = fault_runs.Started(command, folder / 'output.txt')
    target = rng.randrange(5, PAIR_LAST)
    if not launcher.wait_until(
      lambda r=run, t=target: Left.in_(r).step >= t, 600, every=0.01
    ):
      launcher.end(signal.SIGTERM)
      wrong.append(f'no step {target}: {launcher.said()[-3000:]}')
      outcomes['never began'] += 1
      continue
    seconds = _lose(launcher, run, victim, kind)
    code, said = launcher.end(), launcher.said()
    restarts = re.findall(r'.*Restart \d.*', said)
    if code or len(restarts) != 1 or not fault_runs.same_end(run, whole):
      wrong.append(f'{who}: exit code {code}, {restarts}, {said[-600:]}')
      who += ': LOST'
    outcomes[who] += 1
    longest[kind.name] = max(longest.get(kind.name, 0), seconds)
    message = next((line for line in restarts if 'hung' in line), message)
  took = ', '.join(f'{kind} at most {s:.0f} s' for kind, s in longest.items())
  return fault_runs.row(
    'a process of two dies or hangs, --supervise',
    outcomes,
    not wrong,
    '\n'.join(wrong) or f'figures of the next start after {took}; {message}',
  )


def _lose(launcher, run, victim, kind):
  """Signals a process; returns the seconds to the next figures."""
  pids = re.findall(r'launch: process ids ([\d ]+)', launcher.said())[-1]
  metrics = Workdir(run).metrics
  before, since = metrics.stat().st_ino, time.monotonic()
  os.kill(int(pids.split()[victim]), kind)

  def goes_on():
    return metrics.stat().st_ino != before and Left.in_(run).step > 0

  launcher.wait_until(goes_on, every=0.05)
  return time.monotonic() - since
