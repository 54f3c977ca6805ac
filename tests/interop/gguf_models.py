"""Models as llama.cpp's convert_hf_to_gguf.py writes them: names, changes, headers.

Written after that script, for tests of what undoes it.
"""

import numpy as np

from tests.interop import gguf_bytes


def permuted(array, heads):
  """Rows of rotated pairs side by side (LlamaModel.permute)."""
  parts = array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:])
  return parts.swapaxes(1, 2).reshape(array.shape)


def _llama(name, array, config):
  if '.q_proj.' in name:
    return permuted(array, config['num_attention_heads'])
  if '.k_proj.' in name:
    return permuted(array, config['num_key_value_heads'])
  return array


def _gemma(name, array, config):
  return array + np.float32(1) if name.endswith('norm.weight') else array


def _gpt2(name, array, config):
  is_linear = name.endswith(('c_attn.weight', 'c_proj.weight', 'c_fc.weight'))
  return array.T if is_linear else array


def _neox(name, array, config):
  if 'query_key_value' not in name:
    return array
  heads = config['num_attention_heads']
  parts = array.reshape(heads, 3, -1, *array.shape[1:])
  return np.concatenate([parts[:, i].reshape(-1, *array.shape[1:]) for i in range(3)])


CHANGES = {
  'llama': _llama, 'gemma2': _gemma, 'gemma3': _gemma, 'gpt2': _gpt2, 'gptneox': _neox,
}  # fmt: skip


def header(architecture, config, more=()):
  """Returns the fields of a config.json's content, by the names of llama.cpp."""
  get = config.get
  heads = get('num_attention_heads', get('n_head'))
  found = {
    'block_count': get('num_hidden_layers', get('n_layer')),
    'context_length': get('max_position_embeddings', get('n_positions')),
    'embedding_length': get('hidden_size', get('n_embd')),
    'feed_forward_length': get('intermediate_size', get('n_inner')),
    'attention.head_count': heads,
    'attention.head_count_kv': get('num_key_value_heads'),
    'attention.layer_norm_rms_epsilon': get('rms_norm_eps'),
    'attention.layer_norm_epsilon': get('layer_norm_epsilon', get('layer_norm_eps')),
    'attention.key_length': get('head_dim'),
    'attention.value_length': get('head_dim'),
    'attention.sliding_window': get('sliding_window'),
    'rope.freq_base': get('rope_theta'),
    'attn_logit_softcapping': get('attn_logit_softcapping'),
    'final_logit_softcapping': get('final_logit_softcapping'),
  }
  fields = {f'{architecture}.{k}': v for k, v in found.items() if v is not None}
  fields |= {f'{architecture}.{k}': v for k, v in dict(more).items()}
  return {'general.architecture': architecture, 'general.name': 'tiny'} | fields


def write(
  path, architecture, config, tensors, name_of, more=(), fields=None, extra=None
):
  """Writes `tensors`, a family's names to arrays; `name_of`: from these to the file's.

  `more`: fields of the architecture beside those of `config`; `fields`: any others;
  `extra`: tensors of the file alone.
  """
  change = CHANGES.get(architecture, lambda name, array, config: array)
  changed = {
    name_of(name): np.ascontiguousarray(change(name, array, config))
    for name, array in tensors.items()
  }
  all_fields = header(architecture, config, more) | (fields or {})
  return gguf_bytes.write(path, all_fields, changed | (extra or {}))
