"""Liveness: arrays are live from their definition to their last use."""

import jax
import jax.numpy as jnp
import pytest

from gpt_jax.hlo import liveness, parser

TABLES = """\
FileNames
1 "/home/me/gpt_jax/model/layers.py"
2 "/usr/lib/site-packages/flax/core.py"
3 "/home/me/gpt_jax/matmul.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=66 end_line=66 column=14 end_column=63}
2 {file_name_id=2 function_name_id=1 line=7 end_line=7 column=1 end_column=2}
3 {file_name_id=3 function_name_id=1 line=9 end_line=9 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}

"""
SCHEDULE = """\
HloModule m, is_scheduled=true

%body (state: (s32[], f32[256], f32[1024])) -> (s32[], f32[256], f32[1024]) {
  %state = (s32[], f32[256]{0}, f32[1024]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %row = f32[256]{0} get-tuple-element(%state), index=1
  %stack = f32[1024]{0} get-tuple-element(%state), index=2
  %wide = f32[512]{0} custom-call(%row), custom_call_target="Widen", metadata={op_name="jit(f)/jvp(GPT)/while/body/mlp/up" stack_frame_id=3}
  %next = f32[256]{0} custom-call(%wide), custom_call_target="Narrow"
  %more = f32[1024]{0} dynamic-update-slice(%stack, %next, %i)
  ROOT %result = (s32[], f32[256]{0}, f32[1024]{0}) tuple(%i, %next, %more)
}

%condition (state.1: (s32[], f32[256], f32[1024])) -> pred[] {
  %state.1 = (s32[], f32[256]{0}, f32[1024]{0}) parameter(0)
  ROOT %go = pred[] custom-call(%state.1), custom_call_target="Go"
}

ENTRY %main (x: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0), metadata={op_name="state.params[\\'mlp\\'][\\'kernel\\']"}
  %zero = s32[] constant(0)
  %cast = f32[256]{0} convert(%x)
  %space = f32[1024]{0} custom-call(), custom_call_target="AllocateBuffer"
  %fast = f32[4096]{0:S(1)} custom-call(), custom_call_target="OnChip"
  %start = (s32[], f32[256]{0}, f32[1024]{0}) tuple(%zero, %cast, %space)
  %forward = (s32[], f32[256]{0}, f32[1024]{0}) while(%start), condition=%condition, body=%body, metadata={op_name="jit(f)/jvp(GPT)/while" stack_frame_id=2}
  %saved = f32[1024]{0} get-tuple-element(%forward), index=2
  %last = f32[256]{0} get-tuple-element(%forward), index=1
  %loss = f32[256]{0} negate(%last), metadata={op_name="jit(f)/jvp(loss)/neg"}
  %grad = f32[256]{0} add(%saved, %loss), metadata={op_name="jit(f)/transpose(jvp(GPT))/mlp/add_any"}
  ROOT %out = f32[256]{0} negate(%grad)
}
"""  # noqa: E501
WORD = 4


@pytest.fixture(scope='module')
def live():
  text = SCHEDULE.replace('\n\n%body', '\n\n' + TABLES + '%body', 1)
  return liveness.analyze(parser.parse(text), text)


def test_the_peak_is_the_sum_of_live_arrays(live):
  # In the loop: its carry of 256 and 1024, which the caller made, and the wide row.
  assert live.peak_bytes == WORD * (256 + 1024 + 512)
  assert {buffer.name for buffer in live.at_peak} == {'cast', 'space', 'wide'}


def test_arrays_that_the_backward_pass_uses_are_saved(live):
  assert {buffer.name for buffer in live.saved} == {'space', 'loss'}
  assert live.saved_bytes == WORD * (1024 + 256)


def test_buffers_have_a_path_in_the_model_and_a_source_line(live):
  (argument,) = live.arguments
  assert argument.origin == 'params/mlp/kernel'
  by_name = {buffer.name: buffer for buffer in live.at_peak}
  assert by_name['wide'].origin == 'mlp/up'
  assert by_name['cast'].origin == 'params/mlp/kernel'
  # The frame of matmul.py and that of an installed package are passed over.
  assert by_name['wide'].source == 'model/layers.py:66'
  assert by_name['space'].source == 'model/layers.py:66'
  assert by_name['wide'].type == 'f32[512]'


def test_the_peak_agrees_with_memory_analysis():
  def f(x):
    def body(x, _):
      return jnp.tanh(x @ x), x

    y, xs = jax.lax.scan(body, x, length=6)
    return jnp.sum(xs) + jnp.sum(y)

  compiled = jax.jit(jax.grad(f)).lower(jnp.ones((128, 128))).compile()
  text = compiled.as_text()
  live = liveness.analyze(parser.parse(text), text)
  temporaries = compiled.memory_analysis().temp_size_in_bytes
  assert live.peak_bytes == pytest.approx(temporaries, rel=0.25)
  assert live.saved_bytes >= 6 * 128 * 128 * WORD
