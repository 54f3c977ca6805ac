"""Which arrays a compiled program holds in memory when it holds most, by its schedule.

The instructions of a scheduled module run in the order of the text, so the life of each
array is read from it: from the instruction that makes it to the last that takes it or
an alias of it. XLA's own assignment, which it does not give away for TPUs, also places
arrays; what its total has beyond the sum here is fragmentation and padding.
"""

import collections
import dataclasses
import re

from gpt_jax.hlo import layout, parser

_ALIASES = (
  'bitcast',
  'optimization-barrier',
  'while',
)
_NO_USE = ('tuple', 'get-tuple-element', 'bitcast')
BACKWARD = 'transpose('
"""What jax writes into the names of operations of the backward pass."""
_FORWARD = 'jvp('


@dataclasses.dataclass(frozen=True, eq=False)  # two of a kind are two
class Buffer:
  """One array in HBM."""

  name: str
  """Of the instruction that makes it."""
  origin: str
  """What it is: the path of a parameter, or of the operation in the model."""
  source: str
  """FILE:LINE, or '' where the text does not tell."""
  type: str
  bytes: int
  """With the padding of tiles."""


@dataclasses.dataclass(frozen=True)
class Usage:
  """Memory of a program on one device."""

  arguments: tuple[Buffer, ...]
  at_peak: tuple[Buffer, ...]
  """The temporaries that are alive together when they are most."""
  saved: tuple[Buffer, ...]
  """Those made by the forward pass that the backward pass takes."""

  @property
  def peak_bytes(self):
    """Returns the sum of the temporaries at the peak."""
    return sum(buffer.bytes for buffer in self.at_peak)

  @property
  def saved_bytes(self):
    """Returns the sum of what the forward pass keeps for the backward pass."""
    return sum(buffer.bytes for buffer in self.saved)


def measure(module, text):
  """Returns the Usage of an hlo_text.Module; `text` is where it was read from."""
  reader = _Reader(module, sources(text))
  life = reader.life(module.entry)
  return Usage(
    arguments=reader.arguments(),
    at_peak=tuple(life.at_peak),
    saved=tuple(life.saved),
  )


def sources(text):
  """Returns {stack_frame_id: 'file.py:line'} from the tables before the program.

  Of the frames of a trace the innermost counts that lies in no installed package, nor
  in the one file that all products go through.
  """
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
    if not re.search(r'/site-packages/|^<|/matmul\.py$', path):
      return f'{"/".join(path.split("/")[-2:])}:{line}'
    number = parent
  return ''


@dataclasses.dataclass
class _Life:
  """How a computation uses memory beyond its parameters and its result."""

  peak: int
  at_peak: list
  saved: list


class _Reader:
  """Follows the arrays of each computation, once."""

  def __init__(self, module, frames):
    self._module = module
    self._frames = frames
    self._known = {}

  def arguments(self):
    """Returns the entry's parameters."""
    instructions = self._module.computations[self._module.entry].instructions
    return tuple(
      self._buffer(each, leaf)
      for each in instructions.values()
      if each.opcode == 'parameter'
      for leaf in layout.leaves(layout.tree(each.type))
      if leaf.in_hbm
    )

  def life(self, name):
    """Returns the _Life of one run of the computation `name`."""
    if name not in self._known:
      self._known[name] = self._follow(self._module.computations[name])
    return self._known[name]

  def _follow(self, computation):
    instructions = list(computation.instructions.values())
    values, born, last, uses = {}, {}, {}, collections.defaultdict(list)
    for time, each in enumerate(instructions):
      values[each.name] = self._value(each, values, computation, born, time)
      if each.opcode not in _NO_USE:
        for buffer in _flat([values.get(name) for name in each.operands]):
          last[buffer] = time
          uses[buffer].append(each)
    for buffer in _flat([values[computation.root.name]]):
      born.pop(buffer, None)  # lies where the caller wants the result
    inner = {
      time: life
      for time, each in enumerate(instructions)
      for life in [self._inner(each)]
      if life
    }
    return self._at_peak(instructions, born, last, uses, inner)

  def _at_peak(self, instructions, born, last, uses, inner):
    changes = collections.Counter()
    for buffer, time in born.items():
      changes[time] += buffer.bytes
      changes[last.get(buffer, time) + 1] -= buffer.bytes
    alive, peak, peak_time = 0, 0, 0
    for time in range(len(instructions)):
      alive += changes[time]
      total = alive + (inner[time].peak if time in inner else 0)
      if total > peak:
        peak, peak_time = total, time
    at_peak = [
      self._named(buffer, uses)
      for buffer, time in born.items()
      if time <= peak_time <= last.get(buffer, time)
    ]
    if peak_time in inner:
      at_peak += inner[peak_time].at_peak
    turn = _turn(instructions)
    if turn is None:
      saved = max((life.saved for life in inner.values()), key=_size, default=[])
    else:
      saved = [
        self._named(buffer, uses)
        for buffer, time in born.items()
        if time < turn <= last.get(buffer, time)
        and any(BACKWARD in use.attributes for use in uses[buffer])
      ]
    return _Life(peak, at_peak, saved)

  def _inner(self, instruction):
    """Returns the _Life of the largest computation that runs inside, or None."""
    names = {
      'while': r'body=%?([\w.\-]+)',
      'call': r'to_apply=%?([\w.\-]+)',
      'conditional': r'(?:computation=|computations=\{|, )%([\w.\-]+)',
    }
    if instruction.opcode not in names:
      return None
    found = re.findall(names[instruction.opcode], instruction.attributes)
    found = [name for name in found if name in self._module.computations]
    return max(map(self.life, found), key=lambda life: life.peak, default=None)

  def _value(self, each, values, computation, born, time):
    """Returns the arrays that an instruction yields: Buffers or None, as its type."""
    operands = [values.get(name) for name in each.operands]
    if each.opcode == 'parameter':
      return None  # the caller's
    if each.opcode == 'tuple':
      return tuple(operands)
    if each.opcode == 'get-tuple-element':
      return _part(operands[0], int(each.attribute(r'index=(\d+)') or 0))
    if each.opcode in _ALIASES:
      return operands[0]
    if each.opcode == 'dynamic-update-slice':
      return operands[0]
    if each.opcode == 'async-update' and len(operands) == 1:
      return operands[0]
    if each.opcode.endswith('-done'):
      # Of a copy the first part is the result, of others the second.
      whole = operands[0]
      place = 0 if each.opcode in ('copy-done', 'all-reduce-done') else 1
      return _part(whole, place) if isinstance(whole, tuple) else whole
    aliases = self._in_place(each) if each.opcode == 'fusion' else {}
    place = {'copy-start': 1}.get(each.opcode, 0)
    hands_on = each.opcode.endswith('-start') or each.opcode == 'async-update'
    if operands and hands_on and each.opcode != 'all-reduce-start':
      aliases = {place: 0}
    tree = layout.tree(each.type)
    if not isinstance(tree, tuple):
      if 0 in aliases:
        return _taken(operands, aliases[0])
      return self._new(each, tree, computation, born, time)
    return tuple(
      _taken(operands, aliases[i])
      if i in aliases
      else self._new(each, part, computation, born, time)
      for i, part in enumerate(tree)
    )

  def _in_place(self, fusion):
    """Returns {place in the result: operand} of what a fusion updates or passes on.

    None stands for an array that is another part of the result.
    """
    inner = self._module.computations[fusion.called]
    root = inner.root
    results = root.operands if root.opcode == 'tuple' else [root.name]
    found = {}
    for place, name in enumerate(results):
      value = inner.instructions[name]
      while value.opcode in ('bitcast', 'dynamic-update-slice', 'get-tuple-element'):
        value = inner.instructions[value.operands[0]]
      if value.opcode == 'parameter':
        found[place] = int(value.literal)
      elif value.opcode == 'all-gather' and 'async_collective' in fusion.called:
        found[place] = None  # fills the array that its start made
    shared = fusion.attribute(r'"aliasing_operands":\{"lists":\[(.*?)\]\}') or ''
    for group in re.findall(r'"indices":\[([^\]]*)\]', shared):
      numbers = [int(number) for number in re.findall(r'\d+', group)]
      inputs = [number for number in numbers if number < len(fusion.operands)]
      for number in numbers:
        if inputs and number >= len(fusion.operands):
          found[number - len(fusion.operands)] = inputs[0]
    return found

  def _new(self, instruction, tree, computation, born, time):
    if isinstance(tree, tuple):
      return tuple(
        self._new(instruction, part, computation, born, time) for part in tree
      )
    if not tree.in_hbm or instruction.opcode == 'constant':
      return None
    buffer = self._buffer(instruction, tree, computation)
    born[buffer] = time
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
    """Returns `buffer`, named by the first that takes it where it has no name."""
    for use in () if buffer.origin else uses[buffer]:
      if _op_name(use):
        origin = 'for ' + parser.label(_op_name(use))
        return dataclasses.replace(buffer, origin=origin, source=self._source(use))
    return buffer

  def _source(self, instruction):
    return self._frames.get(instruction.attribute(r'stack_frame_id=(\d+)'), '')


def _op_name(instruction):
  """Returns what jax calls an instruction; names that XLA made up do not count."""
  name = instruction.attribute(r'\bop_name="([^"]*)"') or ''
  return name if '/' in name or '[' in name else ''


def _turn(instructions):
  """Returns where the forward pass ends and the backward pass begins, or None.

  Schedules mix them a little: the place is taken with the most of each on its side.
  """
  forward = [
    _FORWARD in i.attributes and BACKWARD not in i.attributes for i in instructions
  ]
  backward = [BACKWARD in each.attributes for each in instructions]
  if not any(forward) or not any(backward):
    return None
  best, place, score = -1, None, sum(backward)
  for time in range(len(instructions)):
    if score > best:
      best, place = score, time
    score += forward[time] - backward[time]
  return place


def _size(buffers):
  return sum(buffer.bytes for buffer in buffers)


def _taken(values, place):
  return None if place is None else values[place]


def _part(value, place):
  """Returns one part of a tuple of arrays; None where it is the caller's."""
  if not isinstance(value, tuple):
    return value
  return value[place] if place < len(value) else None


def _flat(value):
  """Returns the Buffers in nested tuples."""
  if isinstance(value, tuple | list):
    return [buffer for part in value for buffer in _flat(part)]
  return [] if value is None else [value]
