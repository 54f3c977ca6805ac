"""SIGTERM and Ctrl-C at random moments, to one process, a launcher, one of two.

Each try goes on from where the one before stopped, so the end of a run has the bits of
an uninterrupted one only when no stop lost or changed anything.
"""

import collections
import dataclasses
import json
import os
import pathlib
import re
import signal
import sys
import time

from gpt_jax.workdir.paths import Workdir
from tests.faults import runs
from tests.faults.runs import Left

STEPS, EVERY_SAVE, EVERY_EVALUATION = 200, 7, 10
PREEMPTED, AT_ONCE = 75, 130
LAUNCHER = [sys.executable, '-m', 'gpt_jax', 'launch']
LAUNCHER += ['--processes=2', '--devices_per_process=1', '--']


@dataclasses.dataclass(frozen=True)
class Case:
  """A signal to `target` while it is `moment`, maybe a second one."""

  target: str  # 'one process', 'the launcher of two', 'one of two'
  number: signal.Signals
  moment: str
  twice: bool = False
  victim: int = 0  # which of two

  @property
  def is_pair(self):
    return 'two' in self.target

  def __str__(self):
    twice = ', twice' if self.twice else ''
    return f'{self.number.name} to {self.target}{twice}'


def _cases():
  one, pair, either = 'one process', 'the launcher of two', 'one of two'
  term, ctrl_c = signal.SIGTERM, signal.SIGINT
  moments = ('training', 'compiling', 'evaluating', 'saving', 'starting')
  found = [Case(one, term, m, twice) for twice in (False, True) for m in moments]
  found += [Case(one, ctrl_c, m) for m in ('training', 'compiling', 'starting')]
  found += [Case(one, ctrl_c, m, True) for m in ('training', 'evaluating', 'saving')]
  found += [Case(pair, term, m, m in ('training', 'saving')) for m in moments]
  # One that leaves while the other waits for it is a loss, and has a lane of its own.
  steps = ('training', 'compiling', 'evaluating', 'saving', 'training')
  found += [Case(either, term, m, victim=n % 2) for n, m in enumerate(steps)]
  found += [Case(pair, ctrl_c, m) for m in ('training', 'evaluating')]
  found += [Case(pair, ctrl_c, m, True) for m in ('training', 'saving')]
  return found


def signals(count, rng, folder):
  """Sends `count` signals (30 make all cases) and returns a row of faults.py."""
  cases = _cases()
  chosen = [case for _ in range(count // len(cases)) for case in cases]
  chosen += rng.sample(cases, count % len(cases))
  outcomes, wrong, slowest, resumed = collections.Counter(), [], 0.0, 0
  for is_pair in (False, True):
    ours = [case for case in chosen if case.is_pair == is_pair]
    if ours:
      place = folder / ('pair' if is_pair else 'one')
      place.mkdir()
      chain = Chain(place, is_pair, rng)
      for case in ours:
        found, problems, seconds = chain.hit(case)
        outcomes[f'{case}: {found}'] += 1
        wrong += [f'{case} while {case.moment}: {problem}' for problem in problems]
        slowest = max(slowest, seconds)
      wrong += chain.end()
      resumed += chain.runs
  good = f'{resumed} runs ended bit-equal; at most {slowest:.1f} s from signal to end'
  return runs.row(
    'SIGTERM or Ctrl-C while starting, compiling, training, evaluating or saving',
    outcomes, not wrong, '\n'.join(wrong) or good,
  )  # fmt: skip


class Chain:
  """A run that is stopped and gone on with, again and again, and then a new one."""

  def __init__(self, folder, is_pair, rng):
    self._folder, self._rng = folder, rng
    self._text = runs.text_in(folder)
    self._head = LAUNCHER if is_pair else runs.TRAIN
    self._whole = folder / 'whole'
    self.runs, self._caches = 0, 0
    runs.finish(self._command(self._whole))
    self._begin()

  def hit(self, case):
    """Returns (exit code and what it means, what is wrong, seconds to the end)."""
    while True:
      before = Left.in_(self._run)
      program = self._start(case)
      is_there = _await(case, program, self._run, before, self._rng)
      if is_there and program.is_on():
        break
      problems = self._close(program)
      if problems:
        return 'could not be hit', problems, 0.0
    since = time.monotonic()
    _send(case, program, self._rng)
    code, seconds = program.end(seconds=120), time.monotonic() - since
    if code == 0:  # it came to its end at that moment: no try
      problems = self._close(program)
      return ('had ended', problems, 0.0) if problems else self.hit(case)
    found, problems = self._judge(case, code, before, program.said())
    return found, problems, seconds

  def end(self):
    """Runs to the end; returns what is wrong there."""
    runs.finish(self._command(self._run))
    self.runs += 1
    is_same = runs.same_end(self._run, self._whole)
    return [] if is_same else [f'{self._run}: the end differs']

  def _begin(self):
    self._run = self._folder / f'run_{self.runs}'

  def _close(self, program):
    """After a start that ended by itself: checks the end, begins a new run."""
    code, said = program.end(seconds=240), program.said()
    problems = [f'ended with {code}: {said[-600:]}'] if code else self.end()
    self._begin()
    return problems

  def _start(self, case):
    environment = os.environ | {'PYTHONUNBUFFERED': '1'}
    if case.moment == 'compiling':
      self._caches += 1  # nothing is found there, so all is compiled
      environment['GPT_JAX_CACHE'] = str(self._folder / f'cache_{self._caches}')
    log = self._folder / 'output.txt'
    return runs.Started(self._command(self._run), log, environment)

  def _command(self, run):
    fields = {
      'train.steps': STEPS, 'checkpoint.every_steps': EVERY_SAVE,
      'eval.every_steps': EVERY_EVALUATION, 'eval.batch_size': 2,
      'eval.sets': {'validation': {}}, 'eval.max_batches': 20,
    }  # fmt: skip
    return [*self._head, *runs.train_command(run, self._text, **fields)]

  def _judge(self, case, code, before, said):
    """Returns (what it came to, what is wrong) after a start that was hit."""
    now, wrong = Left.in_(self._run), []
    at_once = case.number == signal.SIGINT and case.twice and code == AT_ONCE
    is_early = 'nothing is lost' in said
    if code != PREEMPTED and not at_once:
      wrong.append(f'exit code {code}: {said[-600:]}')
    elif not at_once and not is_early and 'is done and saved in' not in said:
      wrong.append(f'no message: {said[-600:]}')
    if 'Traceback' in said or 'error:' in said:
      wrong.append(f'an error is shown: {said[-1200:]}')
    if is_early and now.saved != before.saved:
      wrong.append(f'says that it made no step: {before} -> {now}')
    if not at_once and not is_early and now.saved != now.step:
      wrong.append(f'{now.step - now.saved} steps lost: {now}')
    if now.saved < before.saved or now.step - now.saved > 2 * EVERY_SAVE:
      wrong.append(f'lost: {before} -> {now}')
    found = re.search(r'resumed from step (\d+)|(fresh) parameters', said)
    if found and int(found[1] or 0) != before.saved:
      wrong.append(f'{found[0]!r}, but step {before.saved} had been saved')
    wrong += runs.damaged_steps(self._run)
    if not runs.same_so_far(self._run, self._whole):
      wrong.append(f'other losses than an uninterrupted run, up to step {now.step}')
    left = [p.name for p in Workdir(self._run).checkpoints.glob('*[!0-9]*')]
    if left and not at_once:
      wrong.append(f'left in checkpoints/: {left}')
    what = 'at once' if at_once else 'before a step' if is_early else 'saved'
    return f'{code}, {what}', wrong


def _await(case, program, run, before, rng):
  """Returns whether the moment of `case` came before the program's end."""
  workdir = Workdir(run)
  pids = [program.pid]
  if case.is_pair:
    program.wait_until(lambda: len(_children(program.pid)) == 2)
    pids = _children(program.pid)
  if not program.wait_until(lambda: all(_listens(pid) for pid in pids)):
    return False
  if case.moment == 'starting':
    time.sleep(rng.uniform(0, 3))
    return True
  began = _starts(workdir)
  if case.moment == 'compiling':
    is_there = program.wait_until(lambda: _starts(workdir) > began)
    time.sleep(rng.uniform(0, 0.5))
    return is_there
  if not program.wait_until(lambda: _starts(workdir) > began):
    return False
  first = Left.in_(run).step
  if not program.wait_until(lambda: Left.in_(run).step > max(first, before.saved)):
    return False
  time.sleep(rng.uniform(0, 0.3))
  if case.moment == 'training':
    return True
  is_there = {'saving': _is_saving, 'evaluating': _is_evaluating}[case.moment]
  return program.wait_until(lambda: is_there(workdir))


def _send(case, program, rng):
  pid = program.pid
  if case.target == 'one of two':
    pid = _children(pid)[case.victim]
  os.kill(pid, case.number)
  if not case.twice:
    return
  if case.number == signal.SIGINT:
    program.wait_until(lambda: 'SIGINT: this step is finished' in program.said(), 20)
  else:
    time.sleep(rng.uniform(0, 0.5))
  if program.is_on():
    os.kill(pid, case.number)


def _starts(workdir):
  """Returns how many starts run.json lists: the newest is about to make its steps."""
  try:
    return len(json.loads(workdir.run.read_text())['starts'])
  except (OSError, ValueError, KeyError):
    return 0


def _is_saving(workdir):
  return any('tmp' in path.name for path in workdir.checkpoints.glob('*'))


def _is_evaluating(workdir):
  """Returns whether the last line is of a step that is evaluated, and not yet done."""
  with open(workdir.metrics, 'rb') as file:
    file.seek(max(0, os.fstat(file.fileno()).st_size - 1000))
    last = file.read().rpartition(b'\n')[0].rpartition(b'\n')[2]
  try:
    line = json.loads(last)
  except ValueError:
    return False
  return line['step'] % EVERY_EVALUATION == 0 and 'train/loss' in line


def _children(pid):
  found = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
  return [int(child) for child in found]


def _listens(pid):
  """Returns whether a process has a handler for SIGTERM: its command has begun."""
  try:
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return False
  caught = int(re.search(r'SigCgt:\s*(\w+)', status)[1], 16)
  return bool(caught >> (signal.SIGTERM - 1) & 1)
