"""Every family gives the logits of transformers, from its files and back in them."""

import numpy as np
import pytest

import gpt_jax
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
  print(case[0], abs(found - wanted).max())
  assert_equal_logits(found, wanted)
