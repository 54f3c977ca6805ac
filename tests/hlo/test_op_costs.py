"""HBM bytes of instructions: slices count as slices, updates as updates."""

import pytest

from gpt_jax.hlo import op_costs, parser

SLICES = """\
%slices (stack: f32[12,8,8], i: s32[]) -> f32[1,8,8] {
  %stack = f32[12,8,8] parameter(0)
  %i = s32[]{:S(6)} parameter(1)
  %one = f32[1,8,8] dynamic-slice(%stack, %i, %i, %i)
  ROOT %negative = f32[1,8,8] negate(%one)
}
"""
UPDATES = """\
%updates (stack: f32[12,8,8], one: f32[1,8,8], i: s32[]) -> f32[12,8,8] {
  %stack = f32[12,8,8] parameter(0)
  %one = f32[1,8,8] parameter(1)
  %i = s32[]{:S(6)} parameter(2)
  ROOT %all = f32[12,8,8] dynamic-update-slice(%stack, %one, %i, %i, %i)
}
"""
PASSES = """\
%async_collective_fusion (a: f32[8,8], part: f32[2,8], all: f32[8,8]) -> (f32[8,8], f32[2,8], f32[8,8]) {
  %a = f32[8,8] parameter(0)
  %part = f32[2,8] parameter(1)
  %all = f32[8,8] parameter(2)
  %gather = f32[8,8] all-gather(%part), channel_id=1, dimensions={0}
  %b = f32[8,8] negate(%a)
  ROOT %both = (f32[8,8], f32[2,8], f32[8,8]) tuple(%b, %part, %gather)
}
"""  # noqa: E501
NESTED = (
  SLICES
  + """
%outer (stack: f32[12,8,8], i: s32[]) -> f32[1,8,8] {
  %stack = f32[12,8,8] parameter(0)
  %i = s32[]{:S(6)} parameter(1)
  ROOT %inside = f32[1,8,8] fusion(%stack, %i), kind=kLoop, calls=%slices
}
"""
)
ONE = 8 * 8 * 4  # bytes of a layer


def bytes_of(line, computations=''):
  text = (
    f'HloModule m\n\n{computations}\nENTRY %main (x: f32[12,8,8]) -> f32[8,8] {{\n'
    '  %stack = f32[12,8,8] parameter(0)\n  %one = f32[1,8,8] parameter(1)\n'
    '  %i = s32[]{:S(6)} parameter(2)\n  %x = f32[8,8] parameter(3)\n'
    '  %part = f32[2,8] parameter(4)\n'
    f'  ROOT %out = {line}\n}}\n'
  )
  module = parser.parse(text)
  entry = module.computations['main']
  return op_costs.hbm_bytes(entry.instructions['out'], entry, module)


@pytest.mark.parametrize(
  'line, computations, expected',
  [
    ('f32[8,8] add(%x, %x)', '', 3 * ONE),
    ('f32[1,8,8] dynamic-slice(%stack, %i, %i, %i)', '', 2 * ONE),
    ('f32[12,8,8] dynamic-update-slice(%stack, %one, %i, %i, %i)', '', 2 * ONE),
    ('f32[1,8,8] fusion(%stack, %i), calls=%slices', SLICES, 2 * ONE),
    ('f32[1,8,8] fusion(%stack, %i), calls=%outer', NESTED, 2 * ONE),
    ('f32[12,8,8] fusion(%stack, %one, %i), calls=%updates', UPDATES, 2 * ONE),
    (
      '(f32[8,8], f32[2,8], f32[8,8]) fusion(%x, %part, %x),'
      ' calls=%async_collective_fusion',
      PASSES,
      2 * ONE,  # arrays of the matmul, not those of the gather that it overlaps
    ),
  ],
)
def test_bytes_are_those_that_are_read_and_written(line, computations, expected):
  assert bytes_of(line, computations) == expected
