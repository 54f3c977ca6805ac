"""Models of transformers, written as GGUF files, give the same logits here.

Names of tensors are those of the `gguf` package, changes those of the converter of
llama.cpp.
"""

import numpy as np
import pytest

import gpt_jax
from gpt_jax.interop import gguf_names
from tests.interop import gguf_models, oracle

SHAPE = dict(
  vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
  head_dim=6, rms_norm_eps=1e-6,
)  # fmt: skip
GEMMA = SHAPE | dict(head_dim=10, sliding_window=4, query_pre_attn_scalar=10)
LLAMA3 = dict(
  rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
  original_max_position_embeddings=8192, rope_theta=1e5,
)  # fmt: skip

CASES = {
  'llama': ('llama', 'Llama', SHAPE, {}),
  'llama_biases': ('llama', 'Llama', SHAPE | dict(
    attention_bias=True, mlp_bias=True, tie_word_embeddings=True), {}),
  'llama3': ('llama', 'Llama', SHAPE | dict(
    head_dim=10, rope_parameters=LLAMA3), {'rope.freq_base': 1e5}),
  'llama_linear': ('llama', 'Llama', SHAPE | dict(
    rope_parameters=dict(rope_type='linear', factor=4.0, rope_theta=1e4)),
    {'rope.scaling.type': 'linear', 'rope.scaling.factor': 4.0}),
  'qwen2': ('qwen2', 'Qwen2', SHAPE | dict(tie_word_embeddings=True), {}),
  'qwen3': ('qwen3', 'Qwen3', SHAPE | dict(head_dim=12), {}),
  'gemma2': ('gemma2', 'Gemma2', GEMMA | dict(
    attn_logit_softcapping=2.0, final_logit_softcapping=3.0), {}),
  'gemma3': ('gemma3', 'Gemma3', GEMMA | dict(num_hidden_layers=7),
    {'rope.freq_base': 1e6}),
  'gpt2': ('gpt2', 'GPT2', dict(
    vocab_size=61, n_positions=64, n_embd=24, n_layer=2, n_head=4, n_inner=96,
    layer_norm_epsilon=1e-5), {}),
  'gptneox': ('gptneox', 'GPTNeoX', dict(
    vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
    num_attention_heads=4, max_position_embeddings=64, layer_norm_eps=1e-5),
    {'rope.dimension_count': 2, 'use_parallel_residual': True}),
}  # fmt: skip
"""Name -> architecture, class in transformers, its config, more fields of the file."""


def test_every_architecture_has_a_case():
  assert {case[0] for case in CASES.values()} == gguf_names.ARCHITECTURES.keys()


def test_changes_are_the_inverse_of_those_of_the_converter():
  rng = np.random.default_rng(0)
  config = dict(num_attention_heads=4, num_key_value_heads=2)
  for change, name, architecture, shape in (
    (gguf_names.QUERY, 'self_attn.q_proj.weight', 'llama', (24, 5)),
    (gguf_names.KEY, 'self_attn.k_proj.bias', 'llama', (12,)),
    (gguf_names.FUSED, 'attention.query_key_value.weight', 'gptneox', (24, 8)),
    (gguf_names.FUSED, 'attention.query_key_value.bias', 'gptneox', (24,)),
    (gguf_names.TRANSPOSED, 'attn.c_attn.weight', 'gpt2', (4, 6)),
  ):
    array = rng.normal(size=shape).astype(np.float32)
    written = gguf_models.CHANGES[architecture](name, array, config)
    assert not np.array_equal(written, array)
    assert change.shape(written.shape) == shape
    np.testing.assert_array_equal(change.undo(written, config), array)


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(CASES))
def test_logits_are_those_of_transformers(name, tmp_path):
  gguf = pytest.importorskip('gguf', reason="needs pip install 'gpt_jax[gguf]'")
  architecture, kind, config, more = CASES[name]
  text = 'TextConfig' if kind == 'Gemma3' else 'Config'
  head = 'LMHeadModel' if kind == 'GPT2' else 'ForCausalLM'
  model = oracle.make(kind + text, kind + head, **config)
  number = next(n for n, one in gguf.MODEL_ARCH_NAMES.items() if one == architecture)
  names = gguf.get_tensor_name_map(number, 8)

  def name_of(theirs):
    module, _, last = theirs.rpartition('.')
    return f'{names.get_name(module)}.{last}'

  tensors = {key: value.numpy() for key, value in model.state_dict().items()}
  if model.config.tie_word_embeddings:
    tensors.pop('lm_head.weight')
  path = gguf_models.write(
    tmp_path / 'a.gguf', architecture, config, tensors, name_of, more,
    extra={'rope_freqs.weight': rope_factors(**LLAMA3)} if name == 'llama3' else {},
  )  # fmt: skip
  tokens_BT = oracle.tokens(61, 60)
  wanted = oracle.logits_of(model, tokens_BT)
  found = np.asarray(gpt_jax.load(path).logits(tokens_BT))
  np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)
  assert (found.argmax(-1) == wanted.argmax(-1)).all() and np.ptp(wanted) > 1


def rope_factors(
  rope_theta, factor, low_freq_factor, high_freq_factor,
  original_max_position_embeddings, rope_type,
):  # fmt: skip
  """Returns what the converter writes for LLaMA 3.1, frequency by frequency."""
  del rope_type
  length, factors = original_max_position_embeddings, []
  for frequency in rope_theta ** -(np.arange(0, 10, 2) / 10):
    wavelength = 2 * np.pi / frequency
    smooth = (length / wavelength - low_freq_factor) / (
      high_freq_factor - low_freq_factor
    )
    if wavelength < length / high_freq_factor:
      factors.append(1.0)
    elif wavelength > length / low_freq_factor:
      factors.append(factor)
    else:
      factors.append(1 / ((1 - smooth) / factor + smooth))
  assert 1 < sorted(set(factors))[1] < factor
  return np.array(factors, np.float32)
