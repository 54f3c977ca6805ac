"""Regular expressions as automata: what Python's `re` accepts, without backtracking.

Thompson (1968), "Regular expression search algorithm". What an automaton of this kind
cannot tell (back references, looking around) is refused.
"""

import dataclasses
import importlib
import re
import unicodedata
from collections.abc import Callable

from gpt_jax.core.errors import ConfigError

MAX_NODES = 5000
_UNBOUNDED = 'MAXREPEAT'
_NOT_LINEAR = {
  'GROUPREF': 'a back reference',
  'GROUPREF_EXISTS': 'a condition on a group',
  'ASSERT': 'looking ahead or behind',
  'ASSERT_NOT': 'looking ahead or behind',
  'ATOMIC_GROUP': 'an atomic group',
  'POSSESSIVE_REPEAT': 'a possessive repeat',
}


@dataclasses.dataclass
class Program:
  """Nodes by number; `tests[n]` consumes a character, `checks[n]` a place."""

  tests: list[Callable[[str], bool] | None] = dataclasses.field(default_factory=list)
  checks: list[str | None] = dataclasses.field(default_factory=list)
  """'begin', 'line_begin', 'end', 'line_end', 'boundary' or 'no_boundary'."""
  nexts: list[list[int]] = dataclasses.field(default_factory=list)
  start: int = 0
  match: int = 0

  def add(self, test=None, check=None, nexts=()):
    """Returns the number of a new node. Raises OverflowError."""
    if len(self.nexts) >= MAX_NODES:
      raise OverflowError
    self.tests.append(test)
    self.checks.append(check)
    self.nexts.append(list(nexts))
    return len(self.nexts) - 1

  def reach(self, nodes, holds):
    """Returns the nodes that are reached without a character; `holds(check)`."""
    found, waiting = set(), list(nodes)
    while waiting:
      node = waiting.pop()
      if node in found:
        continue
      found.add(node)
      check = self.checks[node]
      if self.tests[node] is None and (check is None or holds(check)):
        waiting += self.nexts[node]
    return found


def compile_pattern(pattern, ignore_case, field):
  """Returns the Program of a pattern. Raises ConfigError, told after `field`."""
  parser = importlib.import_module('re._parser')
  try:
    parsed = parser.parse(pattern, re.IGNORECASE if ignore_case else 0)
  except (re.error, OverflowError, RecursionError) as error:
    raise ConfigError(f'{field}={pattern!r}: {error}.') from error
  program = Program()
  program.match = program.add()
  try:
    program.start = _Compiler(program).sequence(
      parsed, program.match, parsed.state.flags
    )
  except _NotLinear as error:
    raise ConfigError(
      f'{field}={pattern!r}: has {error}, which cannot be matched in a time that grows'
      ' as the text; expected a pattern without.'
    ) from None
  except OverflowError:
    raise ConfigError(
      f'{field}={pattern!r}: its repeats make more than {MAX_NODES:,} states; expected'
      ' smaller counts in {...}.'
    ) from None
  if program.match in program.reach([program.start], lambda check: True):
    raise ConfigError(
      f'{field}={pattern!r}: matches the empty text; expected at least one character.'
    )
  return program


class _NotLinear(Exception):
  pass


class _Compiler:
  """Adds the nodes of a parsed pattern, from its end to its beginning."""

  def __init__(self, program):
    self._program = program

  def sequence(self, items, after, flags):
    for op, argument in reversed(list(items)):
      after = self._one(str(op), argument, after, flags)
    return after

  def _one(self, op, argument, after, flags):
    if op in _NOT_LINEAR:
      raise _NotLinear(_NOT_LINEAR[op])
    if op == 'SUBPATTERN':
      _, added, removed, inner = argument
      return self.sequence(inner, after, (flags | added) & ~removed)
    if op == 'BRANCH':
      firsts = [self.sequence(inner, after, flags) for inner in argument[1]]
      return self._program.add(nexts=firsts)
    if op in ('MAX_REPEAT', 'MIN_REPEAT'):
      least, most, inner = argument
      return self._repeat(least, most, inner, after, flags)
    if op == 'AT':
      return self._program.add(check=_check(str(argument), flags), nexts=[after])
    return self._program.add(test=_test(op, argument, flags), nexts=[after])

  def _repeat(self, least, most, inner, after, flags):
    if str(most) == _UNBOUNDED:
      loop = self._program.add(nexts=[after])
      first = self.sequence(inner, loop, flags)
      self._program.nexts[loop].append(first)
      after = loop
    else:
      end = after
      for _ in range(most - least):
        first = self.sequence(inner, after, flags)
        after = self._program.add(nexts=[first, end])
    for _ in range(least):
      after = self.sequence(inner, after, flags)
    return after


def _check(name, flags):
  lines = flags & re.MULTILINE
  return {
    'AT_BEGINNING': 'line_begin' if lines else 'begin',
    'AT_BEGINNING_STRING': 'begin',
    'AT_END': 'line_end' if lines else 'end',
    'AT_END_STRING': 'end',
    'AT_BOUNDARY': 'boundary',
    'AT_NON_BOUNDARY': 'no_boundary',
  }[name]


def _test(op, argument, flags):
  """Returns `(character) -> bool` of an item; full-width characters are plain ones."""
  if op == 'ANY':
    inner = (lambda c: True) if flags & re.DOTALL else (lambda c: c != '\n')
  elif op == 'LITERAL':
    inner = _literal(argument)
  elif op == 'NOT_LITERAL':
    return _negated(_variants(_literal(argument), flags))
  else:
    is_negated = str(argument[0][0]) == 'NEGATE'
    items = [_item(str(op), arg, flags) for op, arg in argument[is_negated:]]
    inner = _variants(lambda c: any(item(c) for item in items), flags)
    return _negated(inner) if is_negated else inner
  return _variants(inner, flags)


def _literal(code):
  char = chr(code)
  return lambda c: c == char


def _negated(test):
  return lambda c: not test(c)


def _item(op, argument, flags):
  if op == 'LITERAL':
    return _literal(argument)
  if op == 'RANGE':
    low, high = argument
    return lambda c: low <= ord(c) <= high
  name = str(argument).removeprefix('CATEGORY_')
  is_negated, name = name.startswith('NOT_'), name.removeprefix('NOT_')
  letter = {'DIGIT': 'd', 'SPACE': 's', 'WORD': 'w'}[name]
  matches = re.compile('\\' + letter, flags & re.ASCII).match
  return (lambda c: not matches(c)) if is_negated else (lambda c: bool(matches(c)))


def _variants(test, flags):
  def any_of(char):
    plain = unicodedata.normalize('NFKC', char)
    chars = {char, plain if len(plain) == 1 else char}
    if flags & re.IGNORECASE:
      chars |= {other for c in chars for other in (c.lower(), c.upper())}
    return any(test(c) for c in chars if len(c) == 1)

  return any_of
