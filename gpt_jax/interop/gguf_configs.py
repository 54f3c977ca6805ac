"""Headers of GGUF files as the config.json of a family.

What llama.cpp's converter leaves out, its own code knows (llama-model.cpp): so it is
here.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from gpt_jax.interop.fields import Fields


@dataclasses.dataclass(frozen=True)
class Source:
  """What a config is made of: the header's fields of the architecture, and tensors."""

  fields: Fields
  shapes: dict[str, tuple[int, ...]]
  read: Callable[[str], np.ndarray]
  is_tied: bool  # the output layer is the embedding

  def has(self, suffix):
    return any(name.endswith(suffix) for name in self.shapes)

  @property
  def rows(self):
    """Returns the rows of the embedding."""
    return self.shapes['token_embd.weight'][0]


def _decoder(source, model_type, **more):
  """Returns what LLaMA and its relatives have in common."""
  fields = source.fields
  heads = fields.take('attention.head_count')
  width = fields.take('embedding_length')
  head_dim = fields.take('attention.key_length', width // heads)
  fields.expect('attention.value_length', head_dim)
  fields.expect('rope.dimension_count', head_dim)
  fields.expect('expert_count', 0)
  fields.expect('expert_used_count', 0)
  fields.expect('vocab_size', source.rows)
  return {
    'model_type': model_type,
    'vocab_size': source.rows,
    'hidden_size': width,
    'intermediate_size': fields.take('feed_forward_length'),
    'num_hidden_layers': fields.take('block_count'),
    'num_attention_heads': heads,
    'num_key_value_heads': fields.take('attention.head_count_kv', heads),
    'head_dim': head_dim,
    'max_position_embeddings': fields.take('context_length'),
    'rms_norm_eps': fields.take('attention.layer_norm_rms_epsilon', kind=float),
    'rope_theta': fields.take('rope.freq_base', 10_000.0, float),
    'rope_scaling': _scaling(fields),
    'tie_word_embeddings': source.is_tied,
  } | more


def _scaling(fields):
  fields.ignore('rope.scaling.original_context_length')  # of no kind read here
  kind = fields.take('rope.scaling.type', 'none', str)
  factor = fields.take('rope.scaling.factor', 1.0, float)
  if kind not in ('none', 'linear'):
    fields.refuse(f'rope.scaling.type={kind!r}: only "none" and "linear" are supported')
  return None if kind == 'none' else {'rope_type': 'linear', 'factor': factor}


def llama(source):
  config = _decoder(
    source,
    'llama',
    hidden_act='silu',
    attention_bias=source.has('.attn_q.bias'),
    mlp_bias=source.has('.ffn_up.bias'),
  )
  if 'rope_freqs.weight' in source.shapes:
    config['rope_scaling'] = _llama3_scaling(source, config)
  return config


def _llama3_scaling(source, config):
  """Returns the settings of LLaMA 3.1 that give the factors the file has instead."""
  found = source.read('rope_freqs.weight')
  settings = {
    'rope_type': 'llama3', 'factor': round(float(found.max()), 4),
    'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
  }  # fmt: skip
  expected = _llama3_factors(config['rope_theta'], config['head_dim'], settings)
  if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-4):
    source.fields.refuse(
      'rope_freqs.weight: other factors than those of LLaMA 3.1 (low_freq_factor 1,'
      ' high_freq_factor 4, original_max_position_embeddings 8192)'
    )
  return settings


def _llama3_factors(theta, head_dim, settings):
  wavelengths = 2 * math.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
  low, high = settings['low_freq_factor'], settings['high_freq_factor']
  turns = settings['original_max_position_embeddings'] / wavelengths
  smooth = np.clip((turns - low) / (high - low), 0, 1)
  return 1 / ((1 - smooth) / settings['factor'] + smooth)


def qwen2(source):
  source.fields.expect('attention.sliding_window', 0)
  return _decoder(source, 'qwen2', hidden_act='silu', use_sliding_window=False)


def qwen3(source):
  return _decoder(
    source, 'qwen3', hidden_act='silu', attention_bias=False, use_sliding_window=False
  )


def gemma2(source):
  fields = source.fields
  return _gemma(source, 'gemma2', num_layers_of_27b=46) | dict(
    attn_logit_softcapping=fields.take('attn_logit_softcapping', 50.0, float),
    final_logit_softcapping=fields.take('final_logit_softcapping', 30.0, float),
  )


def gemma3(source):
  fields = source.fields
  config = _gemma(source, 'gemma3_text', num_layers_of_27b=62)
  period = fields.take('attention.sliding_window_pattern', 6)
  return config | dict(
    rope_local_base_freq=fields.take('rope.freq_base_swa', 10_000.0, float),
    final_logit_softcapping=fields.take('final_logit_softcapping', 0.0, float) or None,
    attn_logit_softcapping=None,
    layer_types=_layer_types(config['num_hidden_layers'], period),
  )


def _gemma(source, model_type, num_layers_of_27b):
  config = _decoder(
    source,
    model_type,
    hidden_activation='gelu_pytorch_tanh',
    attention_bias=False,
    sliding_window=source.fields.take('attention.sliding_window', 4096),
  )
  is_27b = config['num_hidden_layers'] == num_layers_of_27b
  width_of_query = config['hidden_size'] // config['num_attention_heads']
  return config | dict(
    query_pre_attn_scalar=width_of_query if is_27b else config['head_dim']
  )


def _layer_types(count, period):
  """Returns the kind of each layer: every `period`-th one sees everything."""
  kinds = ['sliding_attention'] * (period - 1) + ['full_attention']
  return [kinds[i % period] for i in range(count)]


def gpt2(source):
  fields = source.fields
  return {
    'model_type': 'gpt2',
    'vocab_size': source.rows,
    'n_layer': fields.take('block_count'),
    'n_embd': fields.take('embedding_length'),
    'n_inner': fields.take('feed_forward_length'),
    'n_head': fields.take('attention.head_count'),
    'n_positions': fields.take('context_length'),
    'layer_norm_epsilon': fields.take('attention.layer_norm_epsilon', kind=float),
    'activation_function': 'gelu_new',
    'tie_word_embeddings': source.is_tied,
  }


def gpt_neox(source):
  fields = source.fields
  width, heads = fields.take('embedding_length'), fields.take('attention.head_count')
  return {
    'model_type': 'gpt_neox',
    'vocab_size': source.rows,
    'num_hidden_layers': fields.take('block_count'),
    'hidden_size': width,
    'intermediate_size': fields.take('feed_forward_length'),
    'num_attention_heads': heads,
    'max_position_embeddings': fields.take('context_length'),
    'layer_norm_eps': fields.take('attention.layer_norm_epsilon', kind=float),
    'rotary_pct': fields.take('rope.dimension_count') / (width // heads),
    'rotary_emb_base': fields.take('rope.freq_base', 10_000.0, float),
    'use_parallel_residual': fields.take('use_parallel_residual', True, bool),
    'hidden_act': 'gelu',
    'attention_bias': True,
    'tie_word_embeddings': source.is_tied,
  }
