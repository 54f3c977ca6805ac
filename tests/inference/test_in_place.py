"""The compiled loop of decoding updates its cache in place; read from XLA's text."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from gpt_jax.inference import decode, placement
from gpt_jax.inference.guide import Guidance
from gpt_jax.inference.sampling import Sampling, SamplingRows
from gpt_jax.model.cache import empty_cache
from tests import small_models as small

LENGTH = 40
# A kernel of 256 x 256 is large enough for a product with one vector of its own.
AS_IN_A_RUN = {'xla_backend_optimization_level': 3, 'xla_cpu_use_fusion_emitters': True}
CONFIG = dict(
  model__d_model=256, model__num_heads=4, model__num_kv_heads=2, model__d_ff=384,
  model__scan_layers=False, model__position='rope',
)  # fmt: skip


@functools.cache
def compiled(rows, dtype, cache_dtype=None):
  """Returns (model, XLA's text) of `decode.decode` on so many rows."""
  model = small.make_gpt(small.resolve(model__dtype=dtype, **CONFIG))
  params = small.random_params(model)
  settings = decode.RowSettings(
    SamplingRows.of([Sampling()] * rows), np.full(rows, 99), np.full((rows, 1), -1),
    np.zeros(rows, bool),
  )  # fmt: skip
  prefill = functools.partial(
    decode.prefill, model=model, cache_len=LENGTH, visibility='causal',
    cache_dtype=cache_dtype,
  )  # fmt: skip
  one_B = np.ones(rows, np.int32)
  state = jax.eval_shape(
    prefill, params, np.ones((rows, 16), np.int32), one_B, one_B,
    one_B.astype(np.uint32), np.zeros((rows, 2), np.uint32), settings,
  )  # fmt: skip
  settings = placement.preparation(model.cfg, params)
  prepare = functools.partial(decode.prepare_params, **settings)
  jitted = jax.jit(
    functools.partial(decode.decode, model=model, vocab_limit=16),
    donate_argnums=1,
    compiler_options=placement.loop_options() | AS_IN_A_RUN,
  )
  prepared = jax.eval_shape(prepare, params)
  lowered = jitted.lower(prepared, state, 8, Guidance.none(rows, 16))
  return model, lowered.compile().as_text()


def outputs(text, shape):
  """Returns what makes arrays of `shape` such as 'f32[2,3]': opcodes with callees."""
  pattern = rf'= {re.escape(shape)}\S* ([\w\-]+)\(.*?(?:calls=%(\S+?))?[,\s]*\n'
  return re.findall(pattern, re.sub(r', metadata=\{[^}]*\}', '', text) + '\n')


FREE = ('parameter', 'get-tuple-element', 'bitcast', 'scatter')
CASES = [(1, 'float32'), (3, 'float32'), (1, 'bfloat16'), (3, 'bfloat16')]


@pytest.mark.slow
@pytest.mark.parametrize('rows, dtype', CASES)
def test_the_loop_makes_no_copy_of_the_cache(rows, dtype):
  model, text = compiled(rows, dtype)
  heads, size = model.cfg.num_kv_heads, model.cfg.head_dim
  shape = f'[{rows},{heads},{LENGTH},{size}]'
  assert f'f32{shape}' in text  # what XLA:CPU computes with
  for kind in ('f32', 'bf16', 'u16'):
    for opcode, callee in outputs(text, kind + shape):
      is_update = opcode == 'fusion' and 'scatter' in callee
      assert opcode in FREE or is_update, (kind, opcode, callee)


@pytest.mark.slow
@pytest.mark.parametrize('rows, dtype', CASES)
def test_the_donated_cache_is_the_one_that_comes_back(rows, dtype):
  model, text = compiled(rows, dtype)
  cache = jax.eval_shape(lambda: empty_cache(model.cfg, rows, LENGTH)['layers'])
  shape = f'{rows},{model.cfg.num_kv_heads},{LENGTH},{model.cfg.head_dim}'
  (entry,) = re.findall(r'entry_computation_layout=\{\((.*)\)->', text)
  inputs = re.findall(r'(\w+\[[\d,]*\])', entry)
  aliases = re.findall(r'\{\d+\}: \((\d+), ', text.split('entry_computation_layout')[0])
  returned = [number for number in map(int, aliases) if shape in inputs[number]]
  assert len(returned) == len(jax.tree.leaves(cache)) == sum(shape in i for i in inputs)


@pytest.mark.slow
def test_a_single_text_reads_its_weights_as_they_are_stored():
  model, text = compiled(1, 'bfloat16')
  shape = f'[{model.cfg.d_model},{model.cfg.d_ff}]'
  assert f'bf16{shape}' in text
  # Within the fusion that multiplies them they are converted, number by number.
  before = text.split('\nENTRY')[1]
  assert f'f32{shape}' not in before
  made = [opcode for opcode, _ in outputs(text, f'f32{shape}')]
  assert set(made) <= {'convert'}, made


@pytest.mark.slow
def test_several_texts_read_bfloat16_kernels_as_they_lie():
  _, text = compiled(2, 'bfloat16')
  kernels = 'bf16[256,512]', 'bf16[256,256]', 'bf16[256,384]'  # joined, out, up
  assert all(kernel in text for kernel in kernels)
  made = [each for kernel in kernels for each in outputs(text, kernel)]
  assert not [opcode for opcode, _ in made if opcode in ('copy', 'transpose', 'fusion')]


def test_a_loop_on_another_device_has_no_options_of_the_cpu(monkeypatch):
  assert placement.loop_options() is not None
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert placement.loop_options() is None
  cfg = small.model_config(dtype='bfloat16')
  prepared = placement.preparation(cfg, {'w': jnp.zeros(3)})
  assert not prepared['transposes_head'] and not prepared['joins']


def test_a_mesh_of_one_device_prepares_as_no_mesh():
  cfg = small.model_config(dtype='bfloat16')
  mesh = jax.sharding.Mesh(jax.devices()[:1], 'fsdp')
  rows = NamedSharding(mesh, PartitionSpec('fsdp'))
  params = {'w': jax.device_put(jnp.zeros(3), rows)}
  prepared = placement.preparation(cfg, params)
  assert prepared['transposes_head'] and prepared['joins']
  assert placement.unstacked_shardings(params) is None


def test_maps_that_an_adapter_changes_stay_apart():
  params = {'w': jnp.zeros(3)}
  assert not placement.preparation(small.model_config(), params, object())['joins']
  rounded = small.model_config(fake_quantization='int8')
  assert not placement.preparation(rounded, params)['joins']
