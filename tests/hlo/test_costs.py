"""Costs: arithmetic on compiled programs, and XLA:TPU's forms written by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.hlo import costs as hlo_costs
from gpt_jax.hlo import liveness, parser, types
from gpt_jax.parallel import mesh as meshes
from tests.hlo.tpu_texts import BODY, entry, loop_of


def measured(function, *arguments, **settings):
  compiled = jax.jit(function, **settings).lower(*arguments).compile()
  return hlo_costs.measure(compiled.as_text())


def test_matmuls_in_a_loop_count_each_iteration():
  x = jnp.ones((32, 64))
  w = jnp.ones((16, 64, 64))
  costs = measured(lambda x, w: jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0], x, w)
  assert costs.matmul_flops == 16 * 2 * 32 * 64 * 64
  assert costs.unknown_trip_counts == 0
  assert costs.estimated_cycles == 0  # CPUs have none
  assert costs.collectives == ()


def test_nested_loops_with_gradients_cost_three_forward_passes():
  x, w = jnp.ones((8, 16)), jnp.ones((3, 5, 16, 16))

  def inner(x, w):
    return jax.lax.scan(lambda x, w: (jnp.sin(x @ w), None), x, w)[0]

  def loss(x, w):
    return jnp.sum(jax.lax.scan(lambda x, w: (inner(x, w), None), x, w)[0])

  forward = 3 * 5 * 2 * 8 * 16 * 16
  costs = measured(jax.grad(loss, argnums=(0, 1)), x, w)
  assert costs.matmul_flops == 3 * forward
  assert costs.unknown_trip_counts == 0


def test_batched_matmuls_count_every_multiplication():
  a, b = jnp.ones((3, 4, 5, 6)), jnp.ones((3, 7, 5, 6))
  costs = measured(functools.partial(jnp.einsum, 'abcd,aecd->abe'), a, b)
  assert costs.matmul_flops == 2 * 3 * 4 * 7 * 5 * 6


def on_mesh(shape, *spec):
  mesh = meshes.make_mesh(dict(data=2, fsdp=4))
  place = NamedSharding(mesh, PartitionSpec(*spec))
  return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place), mesh


def test_a_sum_over_devices_is_an_all_reduce_of_its_bytes():
  x, mesh = on_mesh((8, 256), ('data', 'fsdp'))
  replicated = NamedSharding(mesh, PartitionSpec())
  costs = measured(lambda x: x.sum(0), x, out_shardings=replicated)
  (collective,) = costs.collectives
  assert collective.kind == 'all-reduce'
  assert collective.group == tuple(range(8))
  assert collective.count == 1
  assert collective.payload_bytes == 256 * 4
  assert collective.wire_bytes == 2 * 256 * 4 * 7 / 8


def test_a_gather_over_one_axis_counts_its_result():
  x, mesh = on_mesh((64, 16), 'fsdp')
  sharded = PartitionSpec('fsdp')

  @functools.partial(
    jax.shard_map, mesh=mesh, in_specs=sharded, out_specs=sharded, check_vma=False
  )
  def gather(x):
    return jax.lax.all_gather(x, 'fsdp', tiled=True)

  (collective,) = measured(gather, x).collectives
  assert (collective.kind, collective.group) == ('all-gather', (0, 1, 2, 3))
  assert collective.payload_bytes == 64 * 16 * 4
  assert collective.wire_bytes == 64 * 16 * 4 * 3 / 4


def test_collectives_in_loops_count_each_iteration():
  x, mesh = on_mesh((8, 8), 'fsdp')

  @functools.partial(
    jax.shard_map, mesh=mesh, in_specs=PartitionSpec('fsdp'), out_specs=PartitionSpec()
  )
  def five_sums(x):
    def body(carry, _):
      return carry + jax.lax.psum(x * carry.sum(), 'fsdp'), None

    return jax.lax.scan(body, jnp.ones((2, 8)), length=5)[0]

  costs = measured(five_sums, x)
  assert sum(each.count for each in costs.collectives) == 5
  assert hlo_costs.by_kind(costs.collectives, lambda c: c.payload_bytes) == {
    'all-reduce': 5 * 2 * 8 * 4
  }


# TPU's own forms.


def test_cycles_count_iterations_and_each_fusion_once():
  costs = hlo_costs.measure(loop_of(12))
  assert costs.estimated_cycles == 11 + 12 * 100
  ((kernel, calls),) = costs.kernels
  assert (calls, kernel.declared_flops) == (12, 7)
  assert costs.kernel_calls == 12
  assert costs.unknown_trip_counts == 0


def test_an_op_without_an_estimate_counts_at_best():
  # What libtpu writes for a gather of int8 that is fused.
  text = loop_of(12).replace('"100"', '"4611686018427387904"')
  costs = hlo_costs.measure(text, least_cycles=lambda flops, hbm_bytes: 7)
  assert costs.estimated_cycles == 11 + 12 * 7
  assert costs.without_estimate == 1
  assert hlo_costs.measure(loop_of(12)).without_estimate == 0


def test_an_unknown_trip_count_is_one_and_reported():
  costs = hlo_costs.measure(loop_of(None))
  assert costs.estimated_cycles == 11 + 100
  assert costs.unknown_trip_counts == 1


def test_an_all_reduce_with_a_slice_is_a_reduce_scatter():
  scatter = """\
%all-reduce-scatter.3 (input: bf16[4,8]) -> bf16[4,2] {
  %input = bf16[4,8] parameter(0)
  %all-reduce.1 = bf16[4,8] all-reduce(%input), channel_id=5, replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %slice = bf16[4,2] dynamic-slice(%all-reduce.1)
}
"""  # noqa: E501
  text = entry(
    'ROOT %out = bf16[4,2] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.3',
    computations=scatter,
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert collective.kind == 'reduce-scatter'
  assert collective.payload_bytes == 64
  assert collective.wire_bytes == 64 * 3 / 4


def fused_gather(name, target, opcode='custom-call'):
  return f"""\
%{name} (part.{name}: bf16[4,8]) -> bf16[4,32] {{
  %part.{name} = bf16[4,8] parameter(0)
  %gather.{name} = bf16[4,32] all-gather(%part.{name}), channel_id=7, replica_groups=[1,4]<=[4], dimensions={{1}}
  ROOT %root.{name} = bf16[4,32] {opcode}(%gather.{name}), custom_call_target="{target}"
}}

"""  # noqa: E501


def test_an_asynchronous_collective_counts_at_its_start():
  parts = fused_gather('starts', 'AsyncCollectiveStart')
  parts += fused_gather('async_collective_fusion.2', 'Matmul')
  parts += fused_gather('ends', 'AsyncCollectiveDone')
  hides_in_loop = BODY.replace('calls=%inner', 'calls=%async_collective_fusion.2')
  text = entry(
    '%async-collective-start = bf16[4,32] fusion(%x), kind=kCustom, calls=%starts',
    '%begin = (s32[], bf16[4,8]) custom-call(%x), custom_call_target="Begin"',
    '%loop = (s32[], bf16[4,8]) while(%begin), condition=%condition, body=%body,'
    ' backend_config={"known_trip_count":{"n":"6"}}',
    'ROOT %async-collective-done = bf16[4,32] fusion(%x), kind=kCustom, calls=%ends',
    computations=parts + hides_in_loop,
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert collective.asynchronous
  assert (collective.kind, collective.count) == ('all-gather', 1)
  assert collective.payload_bytes == 4 * 32 * 2


def test_ops_between_start_and_end_overlap_by_class():
  pair = '(bf16[4,8], bf16[4,8], u32[]{:S(2)}, u32[]{:S(2)})'
  text = entry(
    '%early = bf16[4,8] negate(%x), backend_config={"estimated_cycles":"1000"}',
    f'%go = {pair} collective-permute-start(%x), channel_id=2,'
    ' source_target_pairs={{0,1},{1,0}}',
    '%overlapped = bf16[4,8] negate(%x), backend_config={"estimated_cycles":"30"}',
    '%moved = bf16[4,8] copy(%x), backend_config={"estimated_cycles":"4"}',
    '%there = bf16[4,8] collective-permute-done(%go)',
    'ROOT %late = bf16[4,8] negate(%x), backend_config={"estimated_cycles":"500"}',
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert collective.overlapped_cycles == (('data movement', 4), ('elementwise', 30))


def test_cycles_of_sparse_cores_are_left_out():
  computations = """\
%held (part: bf16[4,8]) -> bf16[4,32] {
  %part = bf16[4,8] parameter(0)
  ROOT %gather = bf16[4,32] all-gather(%part), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={1}, backend_config={"estimated_cycles":"7"}
}

%wrapped (part.1: bf16[4,8]) -> bf16[4,32] {
  %part.1 = bf16[4,8] parameter(0)
  ROOT %call = bf16[4,32] custom-call(%part.1), custom_call_target="Offload", called_computations={%held}
}
"""  # noqa: E501
  text = entry(
    '%go = ((), (), u32[]) async-start(), async_execution_thread="sparsecore",'
    ' calls=%wrapped',
    '%on = ((bf16[4,8]), bf16[4,32], u32[]) async-update(%go, %x)',
    '%overlapped = bf16[4,8] negate(%x), backend_config={"estimated_cycles":"30"}',
    'ROOT %there = bf16[4,32] async-done(%on)',
    computations=computations,
  )
  costs = hlo_costs.measure(text)
  (collective,) = costs.collectives
  assert (collective.kind, collective.payload_bytes) == ('all-gather', 256)
  assert collective.overlapped_cycles == (('elementwise', 30),)
  assert costs.estimated_cycles == 30
  assert liveness.analyze(parser.parse(text), text).arguments


def test_kernels_have_the_cycles_and_flops_of_a_model():
  costs = hlo_costs.measure(loop_of(12), kernel_cost=lambda kernel: (5, 70))
  assert costs.estimated_cycles == 11 + 12 * 100  # of XLA alone
  assert sum(n * op.cycles for op, n in costs.ops if op.kernel) == 12 * 5
  assert sum(n * op.flops for op, n in costs.ops if op.kernel) == 12 * 70
  assert costs.matmul_flops == 0


def test_a_collective_without_a_start_counts_once():
  text = entry(
    'ROOT %out = bf16[4,32] fusion(%x), calls=%async_collective_fusion.2',
    computations=fused_gather('async_collective_fusion.2', 'Matmul'),
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert (collective.count, collective.asynchronous) == (1, True)


def test_a_permute_sends_its_array_once():
  pair = '(bf16[4,8], bf16[4,8], u32[]{:S(2)}, u32[]{:S(2)})'
  text = entry(
    f'%go = {pair} collective-permute-start(%x), channel_id=2,'
    ' source_target_pairs={{0,1},{1,2},{2,3},{3,0}}',
    'ROOT %there = bf16[4,8] collective-permute-done(%go)',
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert collective.asynchronous
  assert collective.group == (0, 1)
  assert collective.wire_bytes == collective.payload_bytes == 64


def test_a_slice_exchange_counts_what_is_received():
  handles = '(bf16[4,8], u32[], token[])'
  through_host = 'channel_id=3, is_host_transfer=true'
  text = entry(
    '%after = token[] after-all()',
    f'%send = {handles} send(%x, %after), {through_host}',
    f'%recv = {handles} recv(%after), {through_host}',
    'ROOT %there = (bf16[4,8], token[]) recv-done(%recv), is_host_transfer=true',
  )
  (collective,) = hlo_costs.measure(text).collectives
  assert collective.kind == types.BETWEEN_SLICES
  assert collective.asynchronous
  assert collective.wire_bytes == collective.payload_bytes == 64


def test_the_costliest_branch_of_a_conditional_counts():
  branches = ''.join(
    f'%{name} (p.{name}: bf16[4,8]) -> bf16[4,8] {{\n'
    f'  %p.{name} = bf16[4,8] parameter(0)\n'
    f'  ROOT %r.{name} = bf16[4,8] copy(%p.{name}),'
    f' backend_config={{"estimated_cycles":"{cycles}"}}\n}}\n\n'
    for name, cycles in (('cheap', 3), ('costly', 50))
  )
  for listed in (
    'branch_computations={%cheap, %costly}',
    'true_computation=%costly, false_computation=%cheap',
  ):
    line = f'ROOT %out = bf16[4,8] conditional(%x, %x, %x), {listed}'
    costs = hlo_costs.measure(entry(line, computations=branches))
    assert costs.estimated_cycles == 50


@pytest.mark.parametrize(
  'size, window, settings',
  [
    (9, 3, dict(padding=[(1, 1)])),
    (9, 4, dict(padding=[(0, 5)], window_strides=(2,))),
    (5, 3, dict(padding=[(4, 4)], lhs_dilation=(3,))),
    (11, 3, dict(padding=[(2, 1)], rhs_dilation=(2,))),
    (8, 8, dict(padding=[(0, 0)], window_strides=(7,), lhs_dilation=(8,))),
    (8, 8, dict(padding=[(7, 7)], window_strides=(8,), lhs_dilation=(7,))),
  ],
)
def test_convolutions_count_no_taps_outside_the_input(size, window, settings):
  settings = dict(window_strides=(1,)) | settings
  lhs, rhs = jnp.ones((2, 4, size)), jnp.ones((6, 4, window))
  out = jax.lax.conv_general_dilated(lhs, rhs, **settings)
  strings = {
    'stride': settings['window_strides'][0],
    'pad': '_'.join(map(str, settings['padding'][0])),
    'lhs_dilate': settings.get('lhs_dilation', (1,))[0],
    'rhs_dilate': settings.get('rhs_dilation', (1,))[0],
  }
  listed = ' '.join(f'{name}={value}' for name, value in strings.items())
  text = entry(
    f'%lhs = f32[2,4,{size}] parameter(1)',
    f'%rhs = f32[6,4,{window}] parameter(2)',
    f'ROOT %out = f32[2,6,{out.shape[-1]}] convolution(%lhs, %rhs),'
    f' window={{size={window} {listed}}}, dim_labels=bf0_oi0->bf0',
  )
  # Of ones, each output is the number of multiplications in it.
  assert hlo_costs.measure(text).matmul_flops == 2 * int(np.sum(out))


def test_a_matmul_written_as_a_convolution_costs_the_same():
  plain = entry(
    '%a = bf16[16,64,32] parameter(1)',
    '%b = bf16[16,48,32] parameter(2)',
    'ROOT %out = f32[16,64,48] convolution(%a, %b),'
    ' window={size=16 stride=15 lhs_dilate=16}, dim_labels=0bf_0oi->0bf',
  )
  assert hlo_costs.measure(plain).matmul_flops == 2 * 16 * 64 * 48 * 32


def test_feature_and_batch_groups_divide_the_flops():
  features = entry(
    '%a = f32[2,8,9] parameter(1)',
    '%b = f32[8,4,1] parameter(2)',
    'ROOT %out = f32[2,8,9] convolution(%a, %b), window={size=1},'
    ' dim_labels=bf0_oi0->bf0, feature_group_count=2',
  )
  assert hlo_costs.measure(features).matmul_flops == 2 * 2 * 8 * 9 * 4
  batches = entry(
    '%a = f32[6,4,9] parameter(1)',
    '%b = f32[8,4,1] parameter(2)',
    'ROOT %out = f32[3,8,9] convolution(%a, %b), window={size=1},'
    ' dim_labels=bf0_oi0->bf0, batch_group_count=2',
  )
  assert hlo_costs.measure(batches).matmul_flops == 2 * 3 * 8 * 9 * 4


def test_matmuls_inside_fusions_are_counted():
  inner = """\
%fused (a: f32[4,8], b: f32[8,2]) -> f32[4,2] {
  %a = f32[4,8] parameter(0)
  %b = f32[8,2] parameter(1)
  ROOT %dot = f32[4,2] dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

"""
  text = entry(
    '%y = f32[8,2] parameter(1)',
    '%one = f32[4,2] fusion(%x, %y), kind=kOutput, calls=%fused',
    '%started = ((f32[4,8]), f32[4,2]) async-start(%x, %y), calls=%fused',
    'ROOT %two = f32[4,2] async-done(%started)',
    computations=inner,
  )
  assert hlo_costs.measure(text).matmul_flops == 2 * (2 * 4 * 2 * 8)


def test_text_that_is_no_program_is_an_error():
  with pytest.raises(ValueError, match='compiled HLO'):
    hlo_costs.measure('nothing')
  assert parser.parse(entry('ROOT %y = bf16[4,8] copy(%x)')).num_partitions == 4
