"""Finds a regular expression in a text that comes in pieces, in linear time.

A state of the automaton is a list of threads, oldest first; each is the place where a
match began and the nodes it may be at. A younger thread has only nodes that no older
one has, so there are fewer threads than nodes. Steps from state to state are kept, as
in a lazily built DFA (Cox 2010, "Regular expression matching in the wild").
"""

import unicodedata

from gpt_jax.safety import regex_program
from gpt_jax.safety.span_filter import Span

MAX_STATES, MAX_STEPS = 2000, 20_000
"""States kept of an automaton, and steps of a state; then they are made anew."""
_TEXT_BEGIN, _END = '\n\n', ''
"""Stand for the character before the first and after the last."""


class LinearRegex:
  """A compiled pattern; detectors share the steps that were worked out."""

  def __init__(self, pattern, ignore_case=False, field='regex'):
    self._program = regex_program.compile_pattern(pattern, ignore_case, field)
    self._looks_around = any(self._program.checks)
    self._states = {}
    self.first = self._state((), _TEXT_BEGIN)

  def _state(self, threads, before):
    key = threads, self._kind(before)
    if key not in self._states:
      if len(self._states) >= MAX_STATES:
        self._states.clear()
      self._states[key] = _State(threads, before)
    return self._states[key]

  def _kind(self, before):
    """Returns what matters of the character before a place."""
    if not self._looks_around:
      return None
    return before == _TEXT_BEGIN, before == '\n', _is_word(before)

  def step(self, state, char):
    """Returns (next state, threads that have matched before `char`, threads kept).

    Threads are numbers in `state`; the one that begins at `char` comes last. Kept is
    None where nothing changes.
    """
    found = state.steps.get(char)
    if found is None:
      found = self._make_step(state, char)
      if len(state.steps) >= MAX_STEPS:
        state.steps.clear()
      state.steps[char] = found
    return found

  def _make_step(self, state, char):
    if char and unicodedata.category(char) == 'Cf':  # has no width: is not there
      return state, (), None
    program, before = self._program, state.before

    def holds(check):
      if check in ('boundary', 'no_boundary'):
        return (_is_word(before) != _is_word(char)) == (check == 'boundary')
      if check in ('begin', 'line_begin'):
        return before == _TEXT_BEGIN or (check == 'line_begin' and before == '\n')
      return char == _END or (check == 'line_end' and char == '\n')

    matched, kept, threads = [], [], []
    seen_now, seen_next = set(), set()
    for number, nodes in enumerate((*state.threads, (program.start,))):
      nodes = program.reach(nodes, holds) - seen_now
      seen_now |= nodes
      if program.match in nodes:
        matched.append(number)
      after = set()
      for node in nodes if char else ():
        test = program.tests[node]
        if test is not None and test(char):
          after.update(program.nexts[node])
      after -= seen_next
      seen_next |= after
      if after:
        kept.append(number)
        threads.append(tuple(sorted(after)))
    return self._state(tuple(threads), char), tuple(matched), tuple(kept)


class _State:
  def __init__(self, threads, before):
    self.threads, self.before, self.steps = threads, before, {}


def _is_word(char):
  return len(char) == 1 and (char.isalnum() or char == '_')


class RegexDetector:
  """A Detector of a LinearRegex; of matches longer than `longest`, the last part."""

  def __init__(self, regex, longest, name, action, label):
    self._regex, self._longest = regex, longest
    self._what = name, action, label
    self._state, self._starts, self._read = regex.first, [], 0

  def feed(self, piece):
    found, regex = [], self._regex
    state, starts, place = self._state, self._starts, self._read
    for char in piece:
      step = state.steps.get(char) or regex.step(state, char)
      next_state, matched, kept = step
      if matched:
        found += [self._span(starts[number], place) for number in matched]
      if kept:
        starts = [*starts, place]
        starts = [starts[number] for number in kept]
      elif kept is not None and starts:
        starts = []
      state = next_state
      place += 1
    self._state, self._starts, self._read = state, starts, place
    first = max(min(starts), place - self._longest) if starts else place
    return found, first

  def finish(self):
    _, matched, _ = self._regex.step(self._state, _END)
    return [self._span(self._starts[number], self._read) for number in matched]

  def _span(self, start, end):
    name, action, label = self._what
    return Span(max(start, end - self._longest), end, 0, name, action, label)
