"""The compiled bfloat16 step: its matmuls read bfloat16 and sum in float32.

That form reaches the matrix units of every backend; on x86 others run 5 to 10 times
slower. Counted in what XLA made of the step, not in what it was given: XLA:CPU turns
matmuls that it cannot multiply in bfloat16 into float32 ones.
"""

import collections

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.hlo import costs, op_costs, parser
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

FAST = ('bf16', 'bf16', 'f32')
SIZES = {
  'data.seq_len': 512,
  'model.d_model': 128,
  'model.bias': True,
  'model.norm': 'layernorm',
  'model.activation': 'gelu',
  'model.dtype': 'bfloat16',
  'train.batch_size': 2,
}


@pytest.mark.parametrize(
  ('kernel', 'loss', 'scan_layers'),
  [
    ('dense', 'plain', False),
    pytest.param('blockwise', 'plain', True, marks=pytest.mark.slow),
    ('dense', 'fused', True),
  ],
)
def test_matmuls_of_a_step_read_bfloat16_and_sum_float32(kernel, loss, scan_layers):
  options = {
    'attention.kernel': kernel,
    'objective.loss': loss,
    'model.scan_layers': scan_layers,
  }
  flops = flops_by_types(compiled_step(SIZES | options))
  assert flops[FAST] >= 0.95 * sum(flops.values()), flops


def test_float32_matmuls_would_be_noticed():
  flops = flops_by_types(compiled_step(SIZES | {'model.dtype': 'float32'}))
  assert flops[FAST] == 0 < flops['f32', 'f32', 'f32']


def compiled_step(overrides):
  config = tiny_runs.tiny_config(overrides)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = build_program(config, vocab=objectives.Vocab(size=257), mesh=mesh)
  shape_BN = (config.train.batch_size, config.data.seq_len + 1)
  batch = {'tokens': jax.ShapeDtypeStruct(shape_BN, np.int32)}
  return program.step.lower(program.abstract_state, batch).compile().as_text()


def flops_by_types(text):
  """Returns {(type of both operands and of the result): FLOPs}, loops in full."""
  module = parser.parse(text)

  def walk(name):
    sums = collections.Counter()
    computation = module.computations[name]
    for instruction in computation.instructions.values():
      called, iterations = instruction.called, 1
      if instruction.opcode == 'while':
        called = instruction.attribute(r'body=%?([\w.\-]+)')
        iterations = module.trip_count(instruction, computation)
      if instruction.opcode == 'dot':
        operands = [computation.instructions[name] for name in instruction.operands]
        types = tuple(parser.arrays(x.type)[0][0] for x in (*operands, instruction))
        sums[types] += op_costs.dot_flops(instruction, computation)
      elif called and instruction.opcode in ('while', 'fusion', 'call'):
        for types, flops in walk(called).items():
          sums[types] += iterations * flops
    return sums

  sums = walk(module.entry)
  assert sum(sums.values()) == costs.measure(text).matmul_flops
  return sums
