"""SIGTERM and Ctrl-C at random moments, to one process, a launcher, one of two.

Each try resumes where the one before stopped, so a run ends with the bits of an
uninterrupted one only when no stop lost or changed anything.
"""

import collections
import dataclasses
import json
import os
import pathlib
import re
import signal
import time

from gpt_jax.workdir.paths import Workdir
from tests.faults import processes, runs
from tests.faults.runs import Command, Progress

STEPS, SAVE_EVERY, EVALUATE_EVERY = 200, 7, 10
PREEMPTED, AT_ONCE = 75, 130
LAUNCH = [*runs.GPT_JAX, 'launch', '--processes=2', '--devices_per_process=1', '--']


@dataclasses.dataclass(frozen=True)
class Case:
  """A signal to `target` while it is in `phase`, maybe a second one."""

  target: str  # 'one process', 'the launcher of two', 'one of two'
  number: signal.Signals
  phase: str
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
  phases = ('training', 'compiling', 'evaluating', 'saving', 'starting')
  found = [Case(one, term, p, twice) for twice in (False, True) for p in phases]
  found += [Case(one, ctrl_c, p) for p in ('training', 'compiling', 'starting')]
  found += [Case(one, ctrl_c, p, True) for p in ('training', 'evaluating', 'saving')]
  found += [Case(pair, term, p, p in ('training', 'saving')) for p in phases]
  # A process that dies while the other waits for it is in the lane `processes`.
  steps = ('training', 'compiling', 'evaluating', 'saving', 'training')
  found += [Case(either, term, p, victim=n % 2) for n, p in enumerate(steps)]
  found += [Case(pair, ctrl_c, p) for p in ('training', 'evaluating')]
  found += [Case(pair, ctrl_c, p, True) for p in ('training', 'saving')]
  return found


def send_signals(count, rng, folder):
  """Sends `count` signals (30 make all cases) and returns the row."""
  all_cases = _cases()
  chosen = all_cases * (count // len(all_cases))
  chosen += rng.sample(all_cases, count % len(all_cases))
  outcomes, wrong, slowest, resumed = collections.Counter(), [], 0.0, 0
  for is_pair in (False, True):
    cases = [case for case in chosen if case.is_pair == is_pair]
    if cases:
      below = folder / ('pair' if is_pair else 'one')
      below.mkdir()
      chain = Chain(below, is_pair, rng)
      for case in cases:
        outcome, problems, seconds = chain.hit(case)
        outcomes[f'{case}: {outcome}'] += 1
        wrong += [f'{case} while {case.phase}: {problem}' for problem in problems]
        slowest = max(slowest, seconds)
      wrong += chain.end()
      resumed += chain.runs
  good = f'{resumed} runs ended bit-equal; at most {slowest:.1f} s from signal to end'
  return runs.row(
    'SIGTERM or Ctrl-C while starting, compiling, training, evaluating or saving',
    outcomes, not wrong, '\n'.join(wrong) or good,
  )  # fmt: skip


class Chain:
  """A run that is stopped and resumed, again and again, and then a new one."""

  def __init__(self, folder, is_pair, rng):
    self._folder, self._rng = folder, rng
    self._text = runs.write_text(folder)
    self._head = LAUNCH if is_pair else runs.GPT_JAX
    self._reference = folder / 'reference'
    self.runs, self._caches = 0, 0
    runs.finish(self._command(self._reference))
    self._begin()

  def hit(self, case):
    """Returns (exit code and its meaning, what is wrong, seconds to the end)."""
    while True:
      before = Progress.of(self._run)
      program = self._start(case)
      has_come = _await(case, program, self._run, before, self._rng)
      if has_come and program.is_running():
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
    outcome, problems = self._judge(case, code, before, program.output())
    return outcome, problems, seconds

  def end(self):
    """Runs to the end; returns what is wrong there."""
    runs.finish(self._command(self._run))
    self.runs += 1
    is_same = runs.is_same_end(self._run, self._reference)
    return [] if is_same else [f'{self._run}: the end differs']

  def _begin(self):
    self._run = self._folder / f'run_{self.runs}'

  def _close(self, program):
    """After a start that ended by itself: checks the end, begins a new run."""
    code, output = program.end(seconds=240), program.output()
    problems = [f'ended with {code}: {output[-600:]}'] if code else self.end()
    self._begin()
    return problems

  def _start(self, case):
    environment = os.environ | {'PYTHONUNBUFFERED': '1'}
    if case.phase == 'compiling':
      self._caches += 1  # nothing is found there, so all is compiled
      environment['GPT_JAX_CACHE'] = str(self._folder / f'cache_{self._caches}')
    log = self._folder / 'output.txt'
    return Command(self._command(self._run), log, environment)

  def _command(self, run):
    fields = {
      'train.steps': STEPS, 'checkpoint.every_steps': SAVE_EVERY,
      'eval.every_steps': EVALUATE_EVERY, 'eval.batch_size': 2,
      'eval.sets': {'validation': {}}, 'eval.max_batches': 20,
    }  # fmt: skip
    return [*self._head, *runs.train_command(run, self._text, **fields)]

  def _judge(self, case, code, before, output):
    """Returns (outcome, what is wrong) after a start that was hit."""
    now, wrong = Progress.of(self._run), []
    at_once = case.number == signal.SIGINT and case.twice and code == AT_ONCE
    is_early = 'nothing is lost' in output
    if code != PREEMPTED and not at_once:
      wrong.append(f'exit code {code}: {output[-600:]}')
    elif not at_once and not is_early and 'is done and saved in' not in output:
      wrong.append(f'no message: {output[-600:]}')
    if 'Traceback' in output or 'error:' in output:
      wrong.append(f'an error is shown: {output[-1200:]}')
    if is_early and now.saved != before.saved:
      wrong.append(f'says that it made no step: {before} -> {now}')
    if not at_once and not is_early and now.saved != now.step:
      wrong.append(f'{now.step - now.saved} steps lost: {now}')
    if now.saved < before.saved or now.step - now.saved > 2 * SAVE_EVERY:
      wrong.append(f'lost: {before} -> {now}')
    wrong += processes.wrong_start(output, before) + runs.damaged_steps(self._run)
    if not runs.is_same_so_far(self._run, self._reference):
      wrong.append(f'other losses than an uninterrupted run, up to step {now.step}')
    left = [p.name for p in Workdir(self._run).checkpoints.glob('*[!0-9]*')]
    if left and not at_once:
      wrong.append(f'left in checkpoints/: {left}')
    outcome = 'at once' if at_once else 'before a step' if is_early else 'saved'
    return f'{code}, {outcome}', wrong


def _await(case, program, run, before, rng):
  """Returns whether the phase of `case` came before the program's end."""
  workdir = Workdir(run)
  pids = [program.pid]
  if case.is_pair:
    program.wait_until(lambda: len(_children(program.pid)) == 2)
    pids = _children(program.pid)
  if not program.wait_until(lambda: all(_handles_sigterm(pid) for pid in pids)):
    return False
  if case.phase == 'starting':
    time.sleep(rng.uniform(0, 3))
    return True
  began = _starts(workdir)
  if case.phase == 'compiling':
    has_come = program.wait_until(lambda: _starts(workdir) > began)
    time.sleep(rng.uniform(0, 0.5))
    return has_come
  if not program.wait_until(lambda: _starts(workdir) > began):
    return False
  first = Progress.of(run).step
  if not program.wait_until(lambda: Progress.of(run).step > max(first, before.saved)):
    return False
  time.sleep(rng.uniform(0, 0.3))
  if case.phase == 'training':
    return True
  has_come = {'saving': processes.is_saving, 'evaluating': _is_evaluating}[case.phase]
  return program.wait_until(lambda: has_come(run))


def _send(case, program, rng):
  pid = program.pid
  if case.target == 'one of two':
    pid = _children(pid)[case.victim]
  os.kill(pid, case.number)
  if not case.twice:
    return
  if case.number == signal.SIGINT:
    program.wait_until(lambda: 'SIGINT: this step is finished' in program.output(), 20)
  else:
    time.sleep(rng.uniform(0, 0.5))
  if program.is_running():
    os.kill(pid, case.number)


def _starts(workdir):
  """Returns how many starts run.json lists: the last is about to make its steps."""
  try:
    return len(json.loads(workdir.run.read_text())['starts'])
  except (OSError, ValueError, KeyError):
    return 0


def _is_evaluating(run):
  """Returns whether the last line is of a step whose evaluation is not yet done."""
  with open(Workdir(run).metrics, 'rb') as file:
    file.seek(max(0, os.fstat(file.fileno()).st_size - 1000))
    last = file.read().rpartition(b'\n')[0].rpartition(b'\n')[2]
  try:
    line = json.loads(last)
  except ValueError:
    return False
  return line['step'] % EVALUATE_EVERY == 0 and 'train/loss' in line


def _children(pid):
  found = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
  return [int(child) for child in found]


def _handles_sigterm(pid):
  """Returns whether a process has a handler for SIGTERM: its command has begun."""
  try:
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return False
  caught = int(re.search(r'SigCgt:\s*(\w+)', status)[1], 16)
  return bool(caught >> (signal.SIGTERM - 1) & 1)
