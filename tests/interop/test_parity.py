"""Every family gives the logits of transformers, from its files and back in them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax.attention import masks
from gpt_jax.interop.export_model import choose_family, export_model
from gpt_jax.interop.open_model import open_model
from gpt_jax.interop.safetensors_files import SafetensorsFiles
from tests import small_models
from tests.interop import oracle

pytestmark = pytest.mark.slow

SHAPE = dict(
  vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
)  # fmt: skip
NEOX = {k: v for k, v in SHAPE.items() if k != 'num_key_value_heads'}
NEOX |= dict(hidden_size=32)
LLAMA3 = dict(
  rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
  original_max_position_embeddings=16, rope_theta=500.0,
)  # fmt: skip
WINDOWS = ['sliding_attention', 'full_attention']

CASES = {
  'gpt2': ('GPT2', dict(
    vocab_size=61, n_positions=64, n_embd=24, n_layer=2, n_head=4)),
  'gpt2_untied': ('GPT2', dict(
    vocab_size=61, n_positions=64, n_embd=24, n_layer=2, n_head=4, n_inner=40,
    tie_word_embeddings=False, activation_function='relu')),
  'gpt_neox': ('GPTNeoX', NEOX),
  'gpt_neox_serial': ('GPTNeoX', dict(
    NEOX, hidden_size=32, use_parallel_residual=False, attention_bias=False,
    tie_word_embeddings=True, rope_parameters=dict(
      rope_type='linear', factor=2.0, rope_theta=100.0, partial_rotary_factor=0.5))),
  'llama': ('Llama', SHAPE),
  'llama_tied_multi_query': ('Llama', dict(
    SHAPE, num_key_value_heads=1, tie_word_embeddings=True, attention_bias=True,
    mlp_bias=True)),
  'llama3': ('Llama', dict(SHAPE, head_dim=10, rope_parameters=LLAMA3)),
  'llama_linear': ('Llama', dict(
    SHAPE, rope_parameters=dict(rope_type='linear', factor=4.0, rope_theta=1e3))),
  'mistral': ('Mistral', dict(SHAPE, sliding_window=5, head_dim=8)),
  'mistral_global': ('Mistral', dict(SHAPE, sliding_window=None)),
  'qwen2': ('Qwen2', dict(SHAPE, tie_word_embeddings=True)),
  'qwen2_windows': ('Qwen2', dict(
    SHAPE, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
  'qwen3': ('Qwen3', dict(SHAPE, head_dim=12)),
  'qwen3_windows': ('Qwen3', dict(
    SHAPE, head_dim=12, attention_bias=True, num_hidden_layers=3,
    use_sliding_window=True, sliding_window=6,
    layer_types=['sliding_attention', *WINDOWS])),
  'gemma2': ('Gemma2', dict(
    SHAPE, head_dim=10, sliding_window=4, query_pre_attn_scalar=7,
    attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
  'gemma2_no_caps': ('Gemma2', dict(
    SHAPE, head_dim=8, sliding_window=4, attn_logit_softcapping=None,
    final_logit_softcapping=None, attention_bias=True)),
  'gemma3': ('Gemma3', dict(
    SHAPE, head_dim=10, sliding_window=4, num_hidden_layers=7)),
  'gemma3_scaled': ('Gemma3', dict(
    SHAPE, head_dim=8, sliding_window=5, layer_types=WINDOWS, rope_parameters=dict(
      full_attention=dict(rope_type='linear', factor=8.0, rope_theta=1e4),
      sliding_attention=dict(rope_type='default', rope_theta=50.0)))),
}  # fmt: skip


def make(name, **more):
  kind, fields = CASES[name]
  config = 'Gemma3TextConfig' if kind == 'Gemma3' else f'{kind}Config'
  tail = 'LMHeadModel' if kind == 'GPT2' else 'ForCausalLM'
  return oracle.make(config, f'{kind}{tail}', **fields, **more)


@pytest.fixture(scope='module', params=sorted(CASES))
def case(request, tmp_path_factory):
  """Returns (name, model of transformers, folder that it wrote)."""
  model = make(request.param)
  folder = tmp_path_factory.mktemp(request.param) / 'model'
  model.save_pretrained(folder)
  return request.param, model, folder


def assert_equal_logits(ours, theirs):
  np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)
  assert (ours.argmax(-1) == theirs.argmax(-1)).all()


def test_logits_are_those_of_transformers(case):
  _, model, folder = case
  tokens_BT = oracle.tokens(61, 60)  # past the windows, and llama3's original 16
  wanted = oracle.logits_of(model, tokens_BT)
  assert np.ptp(wanted) > 1
  found = np.asarray(gpt_jax.load(folder).logits(tokens_BT))
  assert_equal_logits(found, wanted)


def bytes_of(folder):
  """Returns {name: (dtype, shape, bytes)} of the tensors in a folder."""
  with SafetensorsFiles(folder) as files:
    found = {}
    for name, spec in files.specs.items():
      content = files.read(name, 0, math.prod(spec.shape)).tobytes()
      found[name] = spec.dtype, spec.shape, content
    return found


def export(folder, out, **options):
  """Writes what was read of a folder as one of the same family."""
  with open_model(folder) as model:
    family = choose_family(model.config, preferred=model.family.name)
    assert family is model.family
    export_model(model, 0, model.config, model.tokenizer, out, family, **options)


def test_what_came_in_goes_out_byte_for_byte(case, tmp_path):
  _, model, folder = case
  export(folder, tmp_path / 'out')
  assert bytes_of(tmp_path / 'out') == bytes_of(folder)
  tokens_BT = oracle.tokens(61, 60)
  again = oracle.load(tmp_path / 'out', type(model))
  np.testing.assert_array_equal(
    oracle.logits_of(again, tokens_BT), oracle.logits_of(model, tokens_BT)
  )


@pytest.mark.parametrize(
  'name, dtype',
  [('gpt2', 'float16'), ('gpt_neox', 'bfloat16'), ('gemma3_scaled', 'bfloat16')],
)
def test_half_precision_stays_what_it_is(name, dtype, tmp_path):
  model = make(name, dtype=dtype)
  model.save_pretrained(tmp_path / 'model', max_shard_size='4KB')
  assert len(list((tmp_path / 'model').glob('*.safetensors'))) > 2
  export(tmp_path / 'model', tmp_path / 'out', shard_bytes=4000)
  assert len(list((tmp_path / 'out').glob('*.safetensors'))) > 2
  assert bytes_of(tmp_path / 'out') == bytes_of(tmp_path / 'model')
  tokens_BT = oracle.tokens(61, 20)
  wanted = oracle.logits_of(oracle.load(tmp_path / 'model', type(model)), tokens_BT)
  with open_model(tmp_path / 'out', 'float32') as store:
    found = logits_of(store, tokens_BT)
  np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


def logits_of(store, tokens_BT, mask=None, positions_BT=None):
  """Returns float32 [B, T, V] of the model in a ModelReader."""
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  params = store.restore(0, {'params': store.abstract(0, 'params', here)})['params']
  logits = small_models.logits_of(small_models.make_gpt(store.config))
  return np.asarray(logits(params, tokens_BT, mask, positions_BT))


@pytest.mark.parametrize(
  'name, side',
  [('gpt2', 'left'), ('gpt2', 'right'), ('llama3', 'left'), ('gemma3_scaled', 'left')],
)
def test_padded_rows_agree_where_there_are_tokens(name, side, tmp_path):
  model = make(name)
  model.save_pretrained(tmp_path)
  tokens_BT, mask_BT = oracle.tokens(61, 24, batch=3), np.ones((3, 24), np.int32)
  for row, count in enumerate((0, 5, 17)):
    mask_BT[row, slice(count) if side == 'left' else slice(24 - count, 24)] = 0
  positions_BT = np.maximum(np.cumsum(mask_BT, 1) - 1, 0)
  wanted = oracle.logits_of(model, tokens_BT, mask_BT, positions_BT)
  with open_model(tmp_path) as store:
    mask = masks.Mask(segments_BT=jnp.asarray(mask_BT))
    found = logits_of(store, tokens_BT, mask, jnp.asarray(positions_BT))
  real_BT = mask_BT == 1
  assert_equal_logits(found[real_BT], wanted[real_BT])


def test_a_folder_is_read_onto_a_mesh(tmp_path):
  model = make('llama')
  model.save_pretrained(tmp_path)
  tokens_BT = oracle.tokens(61, 16)
  mesh = {'parallel.mesh': dict(data=1, fsdp=4, sequence=1, tensor=2, expert=1)}
  run = gpt_jax.load(tmp_path, overrides=mesh)
  assert run.rules is not None
  assert_equal_logits(
    np.asarray(run.logits(tokens_BT)), oracle.logits_of(model, tokens_BT)
  )
