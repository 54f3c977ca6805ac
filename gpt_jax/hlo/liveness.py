"""Liveness analysis: which arrays a compiled program holds at its peak of memory.

Instructions of a scheduled module run in the order of the text. An array is live from
its definition to the last use of it or of an alias. XLA's total, by a buffer assignment
that it does not print for TPUs, also has fragmentation and padding.
"""

import collections
import dataclasses
import re

from gpt_jax.hlo import layout, parser

_ALIASES = ('bitcast', 'optimization-barrier', 'while', 'dynamic-update-slice')
_NO_USE = ('tuple', 'get-tuple-element', 'bitcast')
# What jax writes into the op_names of the two passes.
_FORWARD, BACKWARD = 'jvp(', 'transpose('


@dataclasses.dataclass(frozen=True, eq=False)  # by identity
class Buffer:
  name: str  # of the instruction that makes it
  origin: str  # path of a parameter, or of the operation in the model
  source: str  # FILE:LINE, or '' where the text has none
  type: str
  bytes: int  # with the padding of tiles


@dataclasses.dataclass(frozen=True)
class LiveArrays:
  arguments: tuple[Buffer, ...]
  at_peak: tuple[Buffer, ...]  # the temporaries that are live together at the peak
  saved: tuple[Buffer, ...]
  """Temporaries of the forward pass that the backward pass uses."""

  @property
  def peak_bytes(self):
    return sum(buffer.bytes for buffer in self.at_peak)

  @property
  def saved_bytes(self):
    return sum(buffer.bytes for buffer in self.saved)


def analyze(module, text):
  """Returns the LiveArrays of a parser.Module; `text` is what it was parsed from."""
  analysis = _Analysis(module, sources(text))
  entry = analysis.peak_of(module.entry)
  return LiveArrays(analysis.arguments(), tuple(entry.live), tuple(entry.saved))


def sources(text):
  """Returns {stack_frame_id: 'file.py:line'} from the tables before the program."""
  files = dict(re.findall(r'^(\d+) "([^"]*)"$', _table(text, 'FileNames'), re.M))
  places = {
    number: (files.get(file, ''), line)
    for number, file, line in re.findall(
      r'^(\d+) \{file_name_id=(\d+) .*?\bline=(\d+)',
      _table(text, 'FileLocations'),
      re.M,
    )
  }
  frames = {  # a frame names its caller by number + 1
    number: (places.get(place, ('', '')), str(int(parent or 0) - 1))
    for number, place, parent in re.findall(
      r'^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?',
      _table(text, 'StackFrames'),
      re.M,
    )
  }
  return {number: _own_frame(number, frames) for number in frames}


def _table(text, name):
  found = re.search(rf'^{name}\n(.*?)\n\n', text, re.M | re.S)
  return found.group(1) if found else ''


def _own_frame(number, frames):
  for _ in range(100):
    if number not in frames:
      return ''
    (path, line), parent = frames[number]
    # Not in installed packages, nor in matmul.py, which all matmuls go through.
    if not re.search(r'/site-packages/|^<|/matmul(_cpu)?\.py$', path):
      return f'{"/".join(path.split("/")[-2:])}:{line}'
    number = parent
  return ''


@dataclasses.dataclass
class _Peak:
  """Memory of a computation beyond its parameters and its result."""

  bytes: int
  live: list
  saved: list


class _Analysis:
  def __init__(self, module, frames):
    self._module = module
    self._frames = frames
    self._known = {}

  def arguments(self):
    instructions = self._module.computations[self._module.entry].instructions
    return tuple(
      self._buffer(each, leaf)
      for each in instructions.values()
      if each.opcode == 'parameter'
      for leaf in layout.leaves(layout.tree(each.type))
      if leaf.in_hbm
    )

  def peak_of(self, name):
    """Returns the _Peak of one run of the computation `name`."""
    if name not in self._known:
      self._known[name] = self._follow(self._module.computations[name])
    return self._known[name]

  def _follow(self, computation):
    instructions = list(computation.instructions.values())
    values, defined, last, uses = {}, {}, {}, collections.defaultdict(list)
    for time, each in enumerate(instructions):
      values[each.name] = self._value(each, values, computation, defined, time)
      if each.opcode not in _NO_USE:
        for buffer in _flat([values.get(name) for name in each.operands]):
          last[buffer] = time
          uses[buffer].append(each)
    for buffer in _flat([values[computation.root.name]]):
      defined.pop(buffer, None)  # the caller allocates the result
    inner = {
      time: peak
      for time, each in enumerate(instructions)
      for peak in [self._inner(each)]
      if peak
    }
    ranges = {b: (first, last.get(b, first)) for b, first in defined.items()}
    return self._peak(instructions, ranges, uses, inner)

  def _peak(self, instructions, ranges, uses, inner):
    """Returns the _Peak, given the first and last instruction of each live range."""
    changes = collections.Counter()
    for buffer, (first, last) in ranges.items():
      changes[first] += buffer.bytes
      changes[last + 1] -= buffer.bytes
    live_bytes, peak_bytes, peak_time = 0, 0, 0
    for time in range(len(instructions)):
      live_bytes += changes[time]
      total = live_bytes + (inner[time].bytes if time in inner else 0)
      if total > peak_bytes:
        peak_bytes, peak_time = total, time
    live = [
      self._named(buffer, uses)
      for buffer, (first, last) in ranges.items()
      if first <= peak_time <= last
    ]
    if peak_time in inner:
      live += inner[peak_time].live
    backward = _backward_start(instructions)
    if backward is None:
      saved = max((peak.saved for peak in inner.values()), key=_size, default=[])
    else:
      saved = [
        self._named(buffer, uses)
        for buffer, (first, last) in ranges.items()
        if first < backward <= last
        and any(BACKWARD in use.attributes for use in uses[buffer])
      ]
    return _Peak(peak_bytes, live, saved)

  def _inner(self, instruction):
    """Returns the _Peak of the largest computation that runs inside, or None."""
    names = {
      'while': r'body=%?([\w.\-]+)',
      'call': r'to_apply=%?([\w.\-]+)',
      'conditional': r'(?:computation=|computations=\{|, )%([\w.\-]+)',
    }
    if instruction.opcode not in names:
      return None
    found = re.findall(names[instruction.opcode], instruction.attributes)
    found = [name for name in found if name in self._module.computations]
    return max(map(self.peak_of, found), key=lambda peak: peak.bytes, default=None)

  def _value(self, each, values, computation, defined, time):
    """Returns the result of an instruction: Buffers or None, nested as its type."""
    operands = [values.get(name) for name in each.operands]
    if each.opcode == 'parameter':
      return None  # the caller's memory
    if each.opcode == 'tuple':
      return tuple(operands)
    if each.opcode == 'get-tuple-element':
      return _part(operands[0], int(each.attribute(r'index=(\d+)') or 0))
    if each.opcode in _ALIASES:
      return operands[0]
    if each.opcode == 'async-update' and len(operands) == 1:
      return operands[0]
    if each.opcode.endswith('-done'):
      # Of a copy the first part is the result, of others the second.
      index = 0 if each.opcode in ('copy-done', 'all-reduce-done') else 1
      return _part(operands[0], index)
    aliases = self._in_place(each) if each.opcode == 'fusion' else {}
    forwards = each.opcode.endswith('-start') or each.opcode == 'async-update'
    if operands and forwards and each.opcode != 'all-reduce-start':
      aliases = {1 if each.opcode == 'copy-start' else 0: 0}
    tree = layout.tree(each.type)
    if not isinstance(tree, tuple):
      if 0 in aliases:
        return _operand(operands, aliases[0])
      return self._new(each, tree, computation, defined, time)
    return tuple(
      _operand(operands, aliases[i])
      if i in aliases
      else self._new(each, part, computation, defined, time)
      for i, part in enumerate(tree)
    )

  def _in_place(self, fusion):
    """Returns {index in the result: operand or None} of what a fusion forwards."""
    inner = self._module.computations[fusion.called]
    root = inner.root
    results = root.operands if root.opcode == 'tuple' else [root.name]
    found = {}
    for index, name in enumerate(results):
      value = inner.instructions[name]
      while value.opcode in ('bitcast', 'dynamic-update-slice', 'get-tuple-element'):
        value = inner.instructions[value.operands[0]]
      if value.opcode == 'parameter':
        found[index] = int(value.literal)
      elif value.opcode == 'all-gather' and 'async_collective' in fusion.called:
        found[index] = None  # fills the array that its start allocated
    shared = fusion.attribute(r'"aliasing_operands":\{"lists":\[(.*?)\]\}') or ''
    for group in re.findall(r'"indices":\[([^\]]*)\]', shared):
      numbers = [int(number) for number in re.findall(r'\d+', group)]
      inputs = [number for number in numbers if number < len(fusion.operands)]
      for number in numbers:
        if inputs and number >= len(fusion.operands):
          found[number - len(fusion.operands)] = inputs[0]
    return found

  def _new(self, instruction, tree, computation, defined, time):
    if isinstance(tree, tuple):
      return tuple(
        self._new(instruction, part, computation, defined, time) for part in tree
      )
    if not tree.in_hbm or instruction.opcode == 'constant':
      return None
    buffer = self._buffer(instruction, tree, computation)
    defined[buffer] = time
    return buffer

  def _buffer(self, instruction, leaf, computation=None):
    described = instruction
    if computation and not _op_name(instruction) and instruction.operands:
      # The casts of parameters have no name of their own.
      described = computation.instructions[instruction.operands[0]]
    return Buffer(
      name=instruction.name,
      origin=parser.label(_op_name(described)),
      source=self._source(described),
      type=str(leaf),
      bytes=leaf.bytes,
    )

  def _named(self, buffer, uses):
    """Returns `buffer`, named after its first use where it has no name."""
    for use in () if buffer.origin else uses[buffer]:
      if _op_name(use):
        origin = 'for ' + parser.label(_op_name(use))
        return dataclasses.replace(buffer, origin=origin, source=self._source(use))
    return buffer

  def _source(self, instruction):
    return self._frames.get(instruction.attribute(r'stack_frame_id=(\d+)'), '')


def _op_name(instruction):
  """Returns jax's name of an instruction; '' for names that XLA made up."""
  name = instruction.attribute(r'\bop_name="([^"]*)"') or ''
  return name if '/' in name or '[' in name else ''


def _backward_start(instructions):
  """Returns the index where the backward pass begins, or None."""
  # Schedules mix the passes a little: the index with the most of each on its side.
  forward = [
    _FORWARD in i.attributes and BACKWARD not in i.attributes for i in instructions
  ]
  backward = [BACKWARD in each.attributes for each in instructions]
  if not any(forward) or not any(backward):
    return None
  best, start, score = -1, None, sum(backward)
  for time in range(len(instructions)):
    if score > best:
      best, start = score, time
    score += forward[time] - backward[time]
  return start


def _size(buffers):
  return sum(buffer.bytes for buffer in buffers)


def _operand(operands, index):
  return None if index is None else operands[index]


def _part(value, index):
  if not isinstance(value, tuple):
    return value
  return value[index] if index < len(value) else None


def _flat(value):
  if isinstance(value, tuple | list):
    return [buffer for part in value for buffer in _flat(part)]
  return [] if value is None else [value]
