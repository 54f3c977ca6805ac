"""How far a study is, point by point: what `status` and `--dry_run` show."""

import collections
import dataclasses
import json

from gpt_jax.sweeps import pace, states
from gpt_jax.sweeps.points import Study
from gpt_jax.tracking.console import duration, number

MAX_NAMES = 10
STYLES = {
  states.DONE: 'green', states.RUNNING: 'cyan', states.FAILED: 'red',
  states.CHANGED: 'yellow', states.STARTED: 'default', states.MISSING: 'default',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Overview:
  """The states of the points of a study."""

  study: Study
  states: dict  # Point -> State
  seconds_left: float  # one after the other
  is_measured: bool  # whether that comes from finished points

  def counts(self):
    """Returns {kind: number of points}, without those of none."""
    found = collections.Counter(state.kind for state in self.states.values())
    return {kind: found[kind] for kind in states.KINDS if found[kind]}

  def as_json(self):
    """Returns all of it as JSON values."""
    listed = []
    for point, state in self.states.items():
      entry = {'name': point.name, 'row': point.row, 'state': state.kind}
      if state.why:
        entry['why'] = state.why
      if state.changes:
        entry['changes'] = [list(change) for change in state.changes]
      if state.kind in (states.RUNNING, states.STARTED):
        entry['step'] = pace.last_logged(point.workdir).step
        entry['steps'] = states.total_steps(point.config)
      listed.append(entry)
    return {
      'experiment': str(self.study.path),
      'size': self.study.size,
      'folder': str(self.study.folder),
      'counts': self.counts(),
      'seconds_left': round(self.seconds_left, 1),
      'duplicates': [[one.name, one.workdir.name] for one in self.study.duplicates],
      'points': listed,
    }

  def lines(self, of_all=False):
    """Yields lines of text, with every point or with those that want attention."""
    study = self.study
    told = ', '.join(f'{n} {kind}' for kind, n in self.counts().items())
    yield f'{study.name} {study.size}: {len(self.states)} points: {told}'
    yield f'in {study.folder}'
    yield from described_duplicates(study)
    if of_all:
      for point, state in self.states.items():
        yield f'  {state.kind:8} {point.name}{_why(state)}'
    else:
      yield from self._attention()
    if self.seconds_left:
      source = 'by its finished points' if self.is_measured else 'as its file estimates'
      yield f'what is left takes about {duration(self.seconds_left)}, {source}'

  def _attention(self):
    of_kind = collections.defaultdict(list)
    for point, state in self.states.items():
      of_kind[state.kind].append((point, state))
    for point, state in of_kind[states.RUNNING]:
      yield f'  running  {point.name}: {described_reach(point)}, by {state.why}'
    for kind in (states.FAILED, states.CHANGED):
      groups = collections.defaultdict(list)
      for point, state in of_kind[kind]:
        groups[_why(state)].append(point.name)
      for why, names in groups.items():
        yield f'  {kind:8} {listed(names)}{why}'
    for point, _ in of_kind[states.STARTED][:MAX_NAMES]:
      yield f'  started  {point.name}: {described_reach(point)}, stopped there'
    if len(of_kind[states.STARTED]) > MAX_NAMES:
      yield f'  started  and {len(of_kind[states.STARTED]) - MAX_NAMES} more'
    if missing := [point.name for point, _ in of_kind[states.MISSING]]:
      yield f'  missing  {listed(missing, MAX_NAMES)}'


def survey(study, points=None):
  """Returns the Overview of `points`, by default all of the `study`."""
  found = states.of_each(states.state_of, points or study.points)
  done = [point for point, state in found.items() if state.kind == states.DONE]
  estimate = pace.Estimate(study, done)
  begun = (states.RUNNING, states.FAILED, states.STARTED)
  left = estimate.seconds_of(
    p for p, s in found.items() if s.kind not in (*begun, states.DONE)
  )
  left += sum(
    estimate.seconds(point, pace.share_left(point))
    for point, state in found.items()
    if state.kind in begun
  )
  return Overview(study, found, left, estimate.is_measured)


def show(overview, as_json=False, of_all=False):
  """Prints an Overview; `as_json`: as one JSON object."""
  if as_json:
    print(json.dumps(overview.as_json()))
  else:
    print('\n'.join(overview.lines(of_all)))


def described_duplicates(study):
  """Yields lines on points that are left out, as another has the same config."""
  if study.duplicates:
    told = [f'{one.name} = {one.workdir.name}' for one in study.duplicates]
    yield f'{len(told)} duplicates are run once: {listed(told, 3)}'


def described_reach(point):
  """Returns step and loss of a run, in words."""
  found, steps = pace.last_logged(point.workdir), states.total_steps(point.config)
  loss = '' if found.loss is None else f', loss {number(float(found.loss))}'
  return f'step {found.step}/{steps}{loss}'


def listed(names, most=2):
  """Returns the first names, and how many more there are."""
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _why(state):
  if state.changes:
    told = [f'{field}: {old!r} -> {new!r}' for field, old, new in state.changes]
    return f': {listed(told, 3)}'
  return f': {state.why}' if state.why else ''
