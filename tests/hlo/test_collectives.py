"""Collectives in hand-written HLO: kind, group and bytes of an instruction."""

import pytest

from gpt_jax.hlo import collectives, parser
from gpt_jax.hlo.types import GATHER_BY_SUM, Collective

GROUP = 'channel_id=5, replica_groups={{0,1,2,3}}'
FUSED = """\
%into_zeros (old: bf16[16,8], new: bf16[4,8], at: s32[]) -> bf16[16,8] {
  %old = bf16[16,8] parameter(0)
  %new = bf16[4,8] parameter(1)
  %at = s32[] parameter(2)
  %column = s32[] constant(0)
  ROOT %fused = bf16[16,8] dynamic-update-slice(%old, %new, %at, %column)
}
"""
LINES = f"""\
  %x = bf16[4,8] parameter(0)
  %zero = bf16[] constant(0)
  %zeros = bf16[16,8] broadcast(%zero), dimensions={{}}
  %row = s32[] constant(4)
  %column = s32[] constant(0)
  %shard = bf16[16,8] dynamic-update-slice(%zeros, %x, %row, %column)
  %cache = bf16[16,8] parameter(1)
  %written = bf16[16,8] dynamic-update-slice(%cache, %x, %row, %column)
  %in_fusion = bf16[16,8] fusion(%zeros, %x, %row), kind=kLoop, calls=%into_zeros
  %half = bf16[8,8] parameter(2)
  %part = bf16[16,8] dynamic-update-slice(%zeros, %half, %row, %column)
  %gather = bf16[16,8] all-gather(%x), {GROUP}, dimensions={{0}}
  %reduce = bf16[4,8] all-reduce(%x), {GROUP}, to_apply=%add
  %by_sum = bf16[16,8] all-reduce(%shard), {GROUP}, to_apply=%add
  %both = (bf16[16,8], bf16[4,8]) all-reduce(%shard, %x), {GROUP}, to_apply=%add
  %of_fusion = bf16[16,8] all-reduce(%in_fusion), {GROUP}, to_apply=%add
  %of_cache = bf16[16,8] all-reduce(%written), {GROUP}, to_apply=%add
  %of_part = bf16[16,8] all-reduce(%part), {GROUP}, to_apply=%add
  %start = bf16[16,8] all-reduce-start(%shard), {GROUP}, to_apply=%add
"""
X, FULL = 4 * 8 * 2, 16 * 8 * 2  # bytes


def read(name):
  entry = f'ENTRY %main () -> bf16[] {{\n{LINES}}}\n'
  module = parser.parse(f'HloModule m, num_partitions=4\n\n{FUSED}\n{entry}')
  computation = module.computations['main']
  instruction = computation.instructions[name]
  kind = instruction.opcode.removesuffix('-start')
  is_async = kind != instruction.opcode
  return collectives.read(kind, instruction, computation, module, is_async)


@pytest.mark.parametrize(
  ('name', 'payloads'),
  [
    ('gather', {'all-gather': FULL}),
    ('reduce', {'all-reduce': X}),
    ('by_sum', {GATHER_BY_SUM: FULL}),
    ('both', {GATHER_BY_SUM: FULL, 'all-reduce': X}),
    ('of_fusion', {GATHER_BY_SUM: FULL}),
    ('start', {GATHER_BY_SUM: FULL}),
    ('of_cache', {'all-reduce': FULL}),  # written into what was there
    ('of_part', {'all-reduce': FULL}),  # four halves are no gather
  ],
)
def test_the_payload_is_the_replicated_array(name, payloads):
  found = read(name)
  assert {each.kind: each.payload_bytes for each in found} == payloads
  assert all(each.group == (0, 1, 2, 3) and each.count == 1 for each in found)
  assert all(each.asynchronous == (name == 'start') for each in found)


def test_a_gather_by_sum_sends_twice_the_bytes():
  (gather,), (by_sum,) = read('gather'), read('by_sum')
  assert gather.wire_bytes == FULL * 3 / 4
  assert by_sum.wire_bytes == 2 * FULL * 3 / 4


def test_only_an_all_reduce_becomes_a_reduce_scatter():
  (reduce,), (gather,) = read('reduce'), read('gather')
  assert collectives.as_reduce_scatter(reduce).kind == 'reduce-scatter'
  assert collectives.as_reduce_scatter(gather) == gather


def test_a_recv_from_the_host_is_a_slice_exchange():
  text = (
    'HloModule m\n\nENTRY %main () -> bf16[] {\n'
    '  %token = token[] after-all()\n'
    '  %recv = (bf16[4,8], u32[], token[]) recv(%token), channel_id=1,'
    ' is_host_transfer=true\n}\n'
  )
  recv = parser.parse(text).computations['main'].instructions['recv']
  expected = Collective('slice-exchange', (), True, 1, X, None)
  assert collectives.between_slices(recv) == [expected]
