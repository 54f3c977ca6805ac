"""FLOPs of one HLO instruction, and its bytes to and from HBM.

FLOPs are of matmuls, two per multiply-add. Bytes are what an instruction reads and
writes once, with the padding of tiles; a slice of a larger array counts as the slice.
"""

import math

import numpy as np

from gpt_jax.hlo import layout, parser

_SLICES = ('dynamic-slice', 'slice', 'gather')
# Forward a value, or send it: the fusions that an asynchronous collective runs through.
_FORWARDING = (
  'tuple', 'custom-call', 'all-gather', 'all-reduce', 'all-to-all', 'reduce-scatter',
)  # fmt: skip


def flops(instruction, computation):
  """Returns the FLOPs of an instruction; 0 where it is no matmul."""
  if instruction.opcode == 'convolution':
    return convolution_flops(instruction, computation)
  return dot_flops(instruction, computation) if instruction.opcode == 'dot' else 0


def dot_flops(dot, computation):
  lhs = computation.instructions[dot.operands[0]].dims
  summed = dot.attribute(r'lhs_contracting_dims=\{([\d,]*)\}') or ''
  depth = math.prod(lhs[int(axis)] for axis in summed.split(',') if axis)
  return 2 * math.prod(dot.dims) * depth


def convolution_flops(convolution, computation):
  """Returns the FLOPs of a convolution, without the taps that meet padding or holes."""
  # XLA:TPU writes batched matmuls as convolutions whose dilations and strides put most
  # positions of the window between the inputs, where nothing is computed.
  lhs, rhs = (computation.instructions[o].dims for o in convolution.operands[:2])
  labels = convolution.attribute(r'dim_labels=(\w+->\w+)')
  left, right, out = labels.replace('->', '_').split('_')
  window = _window(convolution.attribute(r'window=\{([^}]*)\}') or '')
  flops = 2 * convolution.dims[out.index('b')] * convolution.dims[out.index('f')]
  flops *= rhs[right.index('i')]
  for axis, label in enumerate(sorted(label for label in left if label.isdigit())):
    flops *= _num_taps(
      lhs[left.index(label)],
      convolution.dims[out.index(label)],
      **{name: values[axis] for name, values in window.items()},
    )
  return flops


def _window(text):
  """Returns {name: a number for each spatial axis} of a window such as size=2x3."""
  window = {}
  for field in text.split():
    name, _, values = field.partition('=')
    if name in ('size', 'stride', 'pad', 'lhs_dilate', 'rhs_dilate'):
      # Padding is low_high; the high end follows from the sizes.
      window[name] = [int(value.split('_')[0]) for value in values.split('x')]
  return window


def _num_taps(num_in, num_out, size=1, stride=1, pad=0, lhs_dilate=1, rhs_dilate=1):
  """Returns how many pairs of output and window position meet an input, on one axis."""
  outputs, taps = np.arange(num_out)[:, None], np.arange(size)[None]
  position = outputs * stride - pad + taps * rhs_dilate
  inside = (position >= 0) & (position <= (num_in - 1) * lhs_dilate)
  return int(np.sum(inside & (position % lhs_dilate == 0)))


def hbm_bytes(instruction, computation, module):
  """Returns the bytes that `instruction` of `computation` reads and writes in HBM."""
  if instruction.opcode == 'fusion':
    return _fusion_bytes(instruction, computation, module)
  operands = [computation.instructions[name] for name in instruction.operands]
  if instruction.opcode in _SLICES:
    return 2 * layout.hbm_bytes(instruction.type)
  if instruction.opcode == 'dynamic-update-slice':
    return 2 * layout.hbm_bytes(operands[1].type)
  read = sum(layout.hbm_bytes(operand.type) for operand in operands)
  return read + layout.hbm_bytes(instruction.type)


def _fusion_bytes(fusion, computation, module):
  inner = module.computations[fusion.called]
  total = 0
  for name, parameter in inner.instructions.items():
    if parameter.opcode == 'parameter':
      operand = computation.instructions[fusion.operands[int(parameter.literal)]]
      size = layout.hbm_bytes(operand.type)
      # Types inside a fusion have no tiles: take the share of the array.
      total += int(size * _share_read(name, inner, module))
  results = layout.tree(fusion.type)
  if inner.root.opcode != 'tuple' or not isinstance(results, tuple):
    return total + _written(inner.root.name, inner, module, results)
  pairs = zip(inner.root.operands, results, strict=True)
  return total + sum(_written(name, inner, module, type_) for name, type_ in pairs)


def _share_read(name, computation, module):
  """Returns the share of the value `name` that `computation` reads."""
  size = max(1, parser.num_bytes(computation.instructions[name].type))
  share = 0.0
  for use in computation.instructions.values():
    if name not in use.operands:
      continue
    first = use.operands[0] == name
    if use.opcode == 'bitcast':
      share += _share_read(use.name, computation, module)
    elif use.opcode in _SLICES and first:
      share += parser.num_bytes(use.type) / size
    elif use.opcode == 'fusion':
      inner = module.computations[use.called]
      for place, operand in enumerate(use.operands):
        if operand == name:
          share += _share_read(_parameter(inner, place), inner, module)
    elif use.opcode not in _FORWARDING and not (
      use.opcode == 'dynamic-update-slice' and first
    ):
      share += 1.0
  return min(1.0, share)


def _written(name, computation, module, result):
  """Returns the bytes that the value `name`, of the type `result`, writes to HBM."""
  while computation.instructions[name].opcode == 'bitcast':
    name = computation.instructions[name].operands[0]
  value = computation.instructions[name]
  num_bytes = sum(leaf.bytes for leaf in layout.leaves(result) if leaf.in_hbm)
  if value.opcode in _FORWARDING or value.opcode in ('parameter', 'get-tuple-element'):
    return 0
  if value.opcode == 'fusion' and not isinstance(result, tuple):
    inner = module.computations[value.called]
    return _written(inner.root.name, inner, module, result)
  if value.opcode == 'dynamic-update-slice':
    update = computation.instructions[value.operands[1]]
    size = max(1, parser.num_bytes(value.type))
    return int(num_bytes * parser.num_bytes(update.type) / size)
  return num_bytes


def _parameter(computation, number):
  for name, instruction in computation.instructions.items():
    if instruction.opcode == 'parameter' and int(instruction.literal) == number:
      return name
  raise KeyError(number)
