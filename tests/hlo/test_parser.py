"""The HLO parser: shapes, operands and trip counts of a small text."""

import jax
import jax.numpy as jnp
import pytest

from gpt_jax.hlo import parser

LOOP = """\
HloModule loops, is_scheduled=true, num_partitions=4

%body (tuple: (u32[], f32[8,8])) -> (u32[], f32[8,8]) {{
  %tuple = (u32[]{{:T(128)}}, f32[8,8]{{1,0:T(8,128)}}) parameter(0)
  %counter = u32[] get-tuple-element(%tuple), index=0
  %step = {type}[] constant({step})
  %value = f32[8,8] get-tuple-element(%tuple), index=1
  %half = {type}[] copy(%counter)
  %next = {type}[] add(%half, %step)
  ROOT %result = (u32[], f32[8,8]) tuple(%next, %value)
}}

%compare_fused (left: u32[], right: u32[]) -> pred[] {{
  %left = {type}[] parameter(0)
  %right = {type}[] parameter(1)
  ROOT %less = pred[] compare(%left, %right), direction={direction}
}}

%condition (tuple.1: (u32[], f32[8,8])) -> pred[] {{
  %tuple.1 = ({type}[], f32[8,8]) parameter(0)
  %now = {type}[] get-tuple-element(%tuple.1), index=0
  %limit = {type}[] constant({limit})
  ROOT %go_on = pred[] fusion(%now, %limit), kind=kLoop, calls=%compare_fused
}}

ENTRY %main (x: f32[8,8]) -> f32[8,8] {{
  %x = f32[8,8]{{1,0}} parameter(0)
  %start = {type}[] constant({start})
  %initial = ({type}[], f32[8,8]) tuple(%start, %x)
  %loop = ({type}[], f32[8,8]) while(%initial), condition=%condition, body=%body
  ROOT %out = f32[8,8] get-tuple-element(%loop), index=1
}}
"""


def trips(text):
  module = parser.parse(text)
  entry = module.computations[module.entry]
  (loop,) = [i for i in entry.instructions.values() if i.opcode == 'while']
  return module.trip_count(loop, entry)


def loop(start=0, step=1, limit=12, direction='LT', dtype='s32'):
  return LOOP.format(
    start=start, step=step, limit=limit, direction=direction, type=dtype
  )


@pytest.mark.parametrize(
  'expected, fields',
  [
    (12, dict()),
    (12, dict(dtype='u32')),
    (6, dict(step=2, dtype='u32')),
    (4, dict(step=2, limit=7)),
    (7, dict(start=5)),
    (13, dict(direction='LE')),
    (12, dict(start=12, limit=0, step=-1, direction='GT')),
    (0, dict(start=20)),
    (3, dict(step=4, direction='NE')),
  ],
)
def test_trip_counts_follow_from_start_step_and_limit(expected, fields):
  assert trips(loop(**fields)) == expected


def test_a_known_trip_count_is_used():
  known = 'body=%body, backend_config={"known_trip_count":{"n":"3"}}'
  assert trips(loop().replace('body=%body', known)) == 3


@pytest.mark.parametrize(
  'old, new',
  [
    ('add(%half', 'multiply(%half'),
    ('constant(12)', 'parameter(1)'),
    ('constant(0)', 'parameter(1)'),
    ('constant(1)', 'constant(0)'),
    ('direction=LT', 'direction=EQ'),
    ('direction=LT', 'direction=GT'),
  ],
)
def test_other_loops_have_no_trip_count(old, new):
  assert old in loop()
  assert trips(loop().replace(old, new)) is None


def test_trip_counts_of_compiled_loops_are_read():
  def program(x):
    def body(state):
      i, x = state
      return i + 2, x @ x

    return jax.lax.while_loop(lambda state: state[0] < 9, body, (1, x))

  module = parser.parse(jax.jit(program).lower(jnp.ones((4, 4))).compile().as_text())
  found = [
    module.trip_count(instruction, computation)
    for computation in module.computations.values()
    for instruction in computation.instructions.values()
    if instruction.opcode == 'while'
  ]
  assert found == [4]


def test_metadata_may_span_several_lines():
  kernel = (
    '  %kernel = f32[8,8] custom-call(%x), custom_call_target="tpu_custom_call",'
    ' backend_config={"kernel_metadata={\n{\n "name": "attend"\n}}"}\n'
  )
  text = loop().replace('  %start =', kernel + '  %start =')
  entry = parser.parse(text).computations['main']
  assert list(entry.instructions) == ['x', 'kernel', 'start', 'initial', 'loop', 'out']
  assert 'attend' in entry.instructions['kernel'].attributes
  assert entry.root.name == 'out'


def test_types_are_parsed_into_arrays_and_bytes():
  layout = '(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, /*index=1*/f32[]{:T(128)}, token[])'
  assert parser.arrays(layout)[:2] == [('bf16', (2, 3)), ('f32', ())]
  assert parser.num_bytes(layout) == 2 * 6 + 4
  assert parser.num_bytes('s4[3]') == 2
  assert parser.num_bytes('f8e4m3fn[10]') == 10
  assert parser.num_bytes('f32[<=8,2]') == 64


@pytest.mark.parametrize(
  'groups, expected',
  [
    ('replica_groups={{0,2},{1,3}}', (0, 2)),
    ('replica_groups={}', (0, 1, 2, 3, 4, 5, 6, 7)),
    ('replica_groups=[4,2]<=[8]', (0, 1)),
    ('replica_groups=[2,4]<=[4,2]T(1,0)', (0, 2, 4, 6)),
    ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
    ('source_target_pairs={{0,0},{1,2},{2,1}}', (1, 2)),
  ],
)
def test_replica_groups_are_parsed_in_every_format(groups, expected):
  text = loop().replace(
    '%start =', f'%sum = f32[8,8] all-reduce(%x), {groups}\n  %start ='
  )
  collective = parser.parse(text).computations['main'].instructions['sum']
  assert parser.replica_group(collective, 8) == expected


@pytest.mark.parametrize('text', ['', 'not HLO', loop().rsplit('}', 1)[0]])
def test_incomplete_text_is_an_error(text):
  with pytest.raises(ValueError, match='compiled HLO'):
    parser.parse(text)


@pytest.mark.parametrize(
  'op_name, expected',
  [
    (
      'jit(train_step)/jvp(GPT.hidden)/GPT._blocks/while/body/closed_call/layers/block_0'
      '/block_0._add/mlp/up/BTD,DF->BTF/dot_general',
      'layers/block_0/mlp/up BTD,DF->BTF',
    ),
    ('jit(f)/transpose(jvp(GPT))/mlp/reduce_sum', 'backward mlp/reduce_sum'),
    (
      'jit(f)/transpose(jvp(GPT))/checkpoint/rematted_computation/block_0/mlp/up/mul',
      'recomputed block_0/mlp/up/mul',
    ),
    (
      'jit(f)/jvp(fused_loss)/while/body/vmap(vmap(BTV,VD->BTD))/dot',
      'fused_loss BTV,VD->BTD',
    ),
    ('jit(f)/jvp(GPT.hidden)/GPT._blocks/while', 'blocks'),
    (r'state.params[\'embed\'][\'embedding\']', 'params/embed/embedding'),
    ("state.opt_state[1].mu['w']", 'opt_state/1/mu/w'),
  ],
)
def test_op_names_are_shortened_for_readers(op_name, expected):
  assert parser.label(op_name) == expected
