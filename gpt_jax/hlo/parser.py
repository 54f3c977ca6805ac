"""Compiled HLO text as instructions: shapes, operands, and the trip counts of loops.

`gpt-jax plan --dump_hlo=FILE` writes such a text, so anyone can check the numbers.
Grammar: openxla.org/xla/operation_semantics, and what XLA prints on CPU and TPU.
"""

import dataclasses
import functools
import math
import re

_BITS = {
  'pred': 8, 's2': 2, 'u2': 2, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16,
  'u16': 16, 's32': 32, 'u32': 32, 's64': 64, 'u64': 64, 'f16': 16, 'bf16': 16,
  'f32': 32, 'f64': 64, 'c64': 64, 'c128': 128, 'f4e2m1fn': 4, 'token': 0,
}  # fmt: skip  # the other names are kinds of 8-bit floats

_ARRAY = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\]')
_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) .*-> .*\{$')
_FOOTER = re.compile(r'^\}(, execution_thread="[^"]*")?$')
_FIRST_LINE = re.compile(r'^ +(?:ROOT )?%[\w.\-]+ = ')
# A type has no ` word(`: layouts such as {1,0:T(8,128)S(1)} have no space before T.
_INSTRUCTION = re.compile(
  r'^ +(?P<root>ROOT )?%(?P<name>[\w.\-]+) = (?P<type>.*?) ?'
  r'(?<= )(?P<opcode>[a-z][a-z0-9\-]*)'
  r'\((?P<operands>[^()]*(?:\([^()]*\)[^()]*)*)\)(?P<attributes>.*)$',
  re.DOTALL,
)
_WRAPPERS = (
  'while', 'body', 'cond', 'closed_call', 'checkpoint', 'rematted_computation',
  'shard_map', 'pallas_call',
)  # fmt: skip
_FORWARDING = ('copy', 'bitcast', 'convert', 'reshape', 'copy-done')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of HLO: `%name = type opcode(operands), attributes`."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  literal: str  # between the parentheses: the value of a constant, or the operands
  attributes: str

  @property
  def dims(self):
    return arrays(self.type)[0][1]

  def attribute(self, pattern):
    """Returns the first group of the regex `pattern` in its attributes, or None."""
    found = re.search(pattern, self.attributes)
    return found and found.group(1)

  @property
  def called(self):
    """Returns the name of the computation of a fusion, call or async-start, or None."""
    return self.attribute(r'\b(?:calls|to_apply)=%?([\w.\-]+)')


@dataclasses.dataclass(frozen=True, eq=False)
class Computation:
  """Instructions in order; the root is the one whose value is the result."""

  name: str
  instructions: dict[str, Instruction]
  root: Instruction


@dataclasses.dataclass(frozen=True, eq=False)
class Module:
  """A compiled program; of a partitioned one, what each device runs."""

  computations: dict[str, Computation]
  entry: str
  num_partitions: int

  def trip_count(self, loop, computation):
    """Returns the iterations of the while instruction `loop`, None if unknown.

    XLA's own count, or that of a counter with constant start, step and limit.
    """
    known = loop.attribute(r'"known_trip_count":\{"n":"(\d+)"')
    if known is not None:
      return int(known)
    try:
      return self._counter_trips(loop, computation)
    except (_NotAffine, KeyError, IndexError):
      return None

  def _counter_trips(self, loop, computation):
    condition = self.computations[loop.attribute(r'condition=%?([\w.\-]+)')]
    body = self.computations[loop.attribute(r'body=%?([\w.\-]+)')]
    left, right, direction = self._comparison(condition)
    initial = computation.instructions[loop.operands[0]]

    def step_and_start(side):
      slot, offset = side
      if slot is None:
        return 0, offset
      after, step = self._affine(body.root.operands[slot], body)
      if after != slot:
        raise _NotAffine
      _, start = self._affine(initial.operands[slot], computation)
      return step, start + offset

    (step, start), (limit_step, limit) = step_and_start(left), step_and_start(right)
    if limit_step and not step:
      step, start, limit = limit_step, limit, start
      direction = direction.translate(str.maketrans('GL', 'LG'))
    elif limit_step or not step:
      raise _NotAffine
    if direction == 'NE' and (limit - start) % step:
      raise _NotAffine
    if direction not in (('LT', 'LE', 'NE') if step > 0 else ('GT', 'GE', 'NE')):
      raise _NotAffine
    if direction in ('LE', 'GE'):
      limit += 1 if direction == 'LE' else -1
    trips = -((start - limit) // step)
    if trips < 0 and direction == 'NE':
      raise _NotAffine
    return max(0, trips)

  def _comparison(self, computation, arguments=None):
    root = computation.root
    if root.opcode == 'fusion':
      inner = [self._affine(name, computation, arguments) for name in root.operands]
      return self._comparison(self.computations[root.called], inner)
    if root.opcode != 'compare':
      raise _NotAffine
    left, right = (self._affine(name, computation, arguments) for name in root.operands)
    return left, right, root.attribute(r'direction=(\w\w)')

  def _affine(self, name, computation, arguments=None):
    """Returns (slot of the loop's tuple or None, constant): the value is their sum.

    `arguments` are the parameters of a fused computation, in that form.
    """
    instruction = computation.instructions[name]
    follow = functools.partial(
      self._affine, computation=computation, arguments=arguments
    )
    operands = instruction.operands
    match instruction.opcode:
      case 'constant' if re.fullmatch(r'-?\d+', instruction.literal):
        return None, int(instruction.literal)
      case 'get-tuple-element':
        source = computation.instructions[operands[0]]
        slot = int(instruction.attribute(r'index=(\d+)') or 0)
        if source.opcode == 'tuple':
          return follow(source.operands[slot])
        if source.opcode == 'parameter' and arguments is None:
          return slot, 0
      case 'parameter' if arguments is not None:
        return arguments[int(instruction.literal)]
      case opcode if opcode in _FORWARDING:
        return follow(operands[0])
      case 'add' | 'subtract':
        (slot, value), (other_slot, other) = follow(operands[0]), follow(operands[1])
        if slot is None or other_slot is None:
          if instruction.opcode == 'add':
            return (other_slot if slot is None else slot), value + other
          if other_slot is None:
            return slot, value - other
      case 'fusion' | 'call':
        inner = self.computations[instruction.called]
        return self._affine(inner.root.name, inner, [follow(o) for o in operands])
    raise _NotAffine


class _NotAffine(Exception):
  pass


def parse(text):
  """Returns the Module of `compiled.as_text()`; raises ValueError for other text."""
  computations, entry, current, lines = {}, None, None, []
  for line in text.split('\n'):
    if current is None:
      header = _HEADER.match(line)
      if header and not line.startswith('HloModule'):
        current, lines = header.group(2), []
        entry = current if header.group(1) else entry
    elif _FOOTER.match(line):
      computations[current] = _computation(current, lines)
      current = None
    elif _FIRST_LINE.match(line):
      lines.append(line)
    elif lines:  # the metadata of Pallas kernels spans several lines
      lines[-1] += '\n' + line
  if entry is None or current is not None:
    raise ValueError('expected the full text of a compiled HLO module')
  partitions = re.search(r'\bnum_partitions=(\d+)', text)
  return Module(computations, entry, int(partitions.group(1)) if partitions else 1)


def _computation(name, lines):
  instructions, root = {}, None
  for line in lines:
    found = _INSTRUCTION.match(line)
    if not found:
      raise ValueError(f'expected an HLO instruction, got {line[:200]!r}')
    instruction = Instruction(
      name=found['name'],
      type=found['type'],
      opcode=found['opcode'],
      operands=tuple(re.findall(r'%([\w.\-]+)', found['operands'])),
      literal=found['operands'],
      attributes=found['attributes'],
    )
    instructions[instruction.name] = instruction
    root = instruction if found['root'] else root
  return Computation(name, instructions, root or instruction)


def arrays(type_text):
  """Returns [(dtype, dimensions)] of all arrays in a type."""
  return [
    (dtype, tuple(int(size.strip('<=')) for size in dims.split(',') if size))
    for dtype, dims in _ARRAY.findall(type_text)
  ]


def num_bytes(type_text):
  """Returns the bytes of all arrays in a type, without the padding of tiles."""
  return sum(array_bytes(dtype, dims) for dtype, dims in arrays(type_text))


def array_bytes(dtype, dims):
  """Returns the bytes of an array; types narrower than a byte are packed."""
  return -(-_BITS.get(dtype, 8) * math.prod(dims) // 8)


def label(op_name):
  """Returns an `op_name` shortened for readers: pass, path in the model, einsum.

  `jit(f)/transpose(jvp(GPT))/while/body/mlp/down/BTF,FD->BTD/dot_general` becomes
  `backward mlp/down BTF,FD->BTD`.
  """
  if argument := re.match(r"(?:state\.)?(\w+)((?:\\?[\['\].\w]+)+)$", op_name):
    return '/'.join(re.findall(r'\w+', argument.group(0).removeprefix('state.')))
  parts = [part for part in op_name.split('/') if part]
  path, methods, einsums = [], [], []
  for part in parts:
    if einsum := re.search(r'\w+(?:,\w+)+->\w+', part):
      einsums.append(einsum.group(0))
      continue
    if inner := re.fullmatch(r'(?:\w+\()*jvp\(([a-z]\w*)\)+', part):
      part = inner.group(1)  # a function of its own, such as the loss
    elif method := re.fullmatch(r'[A-Z]\w*\._?(\w+)', part):
      methods.append(method.group(1))
      continue
    if re.fullmatch(r'[a-z]\w*', part) and part not in (*path, *_WRAPPERS):
      path.append(part)
  path = path[:-1] if einsums else path
  kept = '/'.join(methods + path if len(path) < 2 else path)
  backward = 'transpose(' in op_name
  recomputed = 'rematted_computation' in op_name
  stage = 'recomputed ' if recomputed else 'backward ' if backward else ''
  return stage + ' '.join([kept, *einsums]).strip()


def replica_group(instruction, num_devices):
  """Returns the ids of a collective's first group; of a permute, source and target."""
  text = instruction.attributes
  if found := re.search(r'source_target_pairs=\{(\{[\d,{}]*\})\}', text):
    pairs = [pair.split(',') for pair in re.findall(r'\{([\d,]+)\}', found.group(1))]
    moves = [(int(a), int(b)) for a, b in pairs if a != b]
    return moves[0] if moves else (0,)
  if found := re.search(r'replica_groups=\{\{([\d,]+)\}', text):
    return tuple(int(i) for i in found.group(1).split(','))
  if found := re.search(
    r'replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text
  ):
    size = int(found.group(2))
    shape = [int(n) for n in found.group(3).split(',')]
    order = found.group(4) and [int(i) for i in found.group(4).split(',')]
    return _first_of_grid(shape, order or list(range(len(shape))), size)
  if found := re.search(r'replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}', text):
    axes = re.findall(r"'([^']+)'=(\d+)", found.group(1))
    names, shape = [name for name, _ in axes], [int(size) for _, size in axes]
    inner = [names.index(name) for name in re.findall(r"'([^']+)'", found.group(2))]
    outer = [axis for axis in range(len(names)) if axis not in inner]
    size = math.prod(shape[axis] for axis in inner)
    return _first_of_grid(shape, outer + inner, size)
  return tuple(range(num_devices))


def _first_of_grid(shape, order, count):
  """Returns the first `count` ids of a grid of `shape`, transposed to `order`."""
  strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
  ids = []
  for number in range(count):
    position = 0
    for axis in reversed(order):
      number, digit = divmod(number, shape[axis])
      position += digit * strides[axis]
    ids.append(position)
  return tuple(ids)
