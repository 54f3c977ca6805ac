"""Architectures of GGUF files as families: the names of their tensors.

llama.cpp's converter renames tensors and changes some: each change is undone here, as
`Change` says.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_jax.core.errors import CheckpointError
from gpt_jax.core.registry import nearest
from gpt_jax.interop import gguf_configs


@dataclasses.dataclass(frozen=True)
class Change:
  """What undoes a change of llama.cpp's converter: of a whole tensor, in its shape."""

  undo: Callable[[np.ndarray, dict[str, Any]], np.ndarray]
  shape: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda shape: shape


@dataclasses.dataclass(frozen=True)
class Architecture:
  """One `general.architecture`."""

  config: Callable[[gguf_configs.Source], dict[str, Any]]  # the fields of config.json
  modules: dict[str, str]  # names in the file -> names of the family; N is a layer
  changes: dict[str, Change] = dataclasses.field(default_factory=dict)
  """Names in the file, without `weight` or with it -> what is undone."""
  used: tuple[str, ...] = ()  # tensors that went into the config


def find(name, path):
  """Returns the Architecture of `general.architecture`; CheckpointError for none."""
  if name in ARCHITECTURES:
    return ARCHITECTURES[name]
  hint = nearest(name, ARCHITECTURES)
  raise CheckpointError(
    f'{path}: general.architecture={name!r} is not supported; supported are'
    f' {", ".join(ARCHITECTURES)}'
    + (f'. The nearest one is {hint!r}.' if hint else '.')
  )


def their_name(architecture, name):
  """Returns (the family's name of a tensor, its Change or None); None for unknown."""
  module, _, kind = name.rpartition('.')
  layer = re.match(r'blk\.(\d+)\.', module)
  general = re.sub(r'^blk\.\d+\.', 'blk.N.', module)
  if general not in architecture.modules:
    return None
  theirs = architecture.modules[general]
  if layer:
    theirs = theirs.replace('N', layer[1], 1)
  change = architecture.changes.get(f'{general}.{kind}')
  return f'{theirs}.{kind}', change or architecture.changes.get(general)


# What is undone

MINUS_ONE = Change(lambda array, config: array - np.float32(1.0))
"""Norms of Gemma: the file holds what is multiplied by, the family that minus 1."""

TRANSPOSED = Change(lambda array, config: array.T, lambda shape: shape[::-1])
"""Linear layers of GPT-2: [in, out] in the family."""


def _interleaved(array, heads):
  # Pairs of a rotation lie side by side in the file, half a head apart in the family.
  half = len(array) // heads // 2
  return array.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(array.shape)


QUERY = Change(lambda array, config: _interleaved(array, config['num_attention_heads']))
KEY = Change(lambda array, config: _interleaved(array, config['num_key_value_heads']))


def _by_heads(array, config):
  # The file has q of all heads, then k, then v; the family q, k, v of each head.
  heads = config['num_attention_heads']
  parts = array.reshape(3, heads, len(array) // heads // 3, *array.shape[1:])
  return parts.swapaxes(0, 1).reshape(array.shape)


FUSED = Change(_by_heads)


# Names

_BLOCK = 'model.layers.N'
_DECODER = {
  'token_embd': 'model.embed_tokens',
  'output_norm': 'model.norm',
  'output': 'lm_head',
  'blk.N.attn_norm': f'{_BLOCK}.input_layernorm',
  'blk.N.attn_q': f'{_BLOCK}.self_attn.q_proj',
  'blk.N.attn_k': f'{_BLOCK}.self_attn.k_proj',
  'blk.N.attn_v': f'{_BLOCK}.self_attn.v_proj',
  'blk.N.attn_output': f'{_BLOCK}.self_attn.o_proj',
  'blk.N.ffn_norm': f'{_BLOCK}.post_attention_layernorm',
  'blk.N.ffn_gate': f'{_BLOCK}.mlp.gate_proj',
  'blk.N.ffn_up': f'{_BLOCK}.mlp.up_proj',
  'blk.N.ffn_down': f'{_BLOCK}.mlp.down_proj',
}
_QK_NORM = {
  'blk.N.attn_q_norm': f'{_BLOCK}.self_attn.q_norm',
  'blk.N.attn_k_norm': f'{_BLOCK}.self_attn.k_norm',
}
_GEMMA = _DECODER | {
  'blk.N.post_attention_norm': f'{_BLOCK}.post_attention_layernorm',
  'blk.N.ffn_norm': f'{_BLOCK}.pre_feedforward_layernorm',
  'blk.N.post_ffw_norm': f'{_BLOCK}.post_feedforward_layernorm',
}
_GPT2 = {
  'token_embd': 'transformer.wte',
  'position_embd': 'transformer.wpe',
  'output_norm': 'transformer.ln_f',
  'output': 'lm_head',
  'blk.N.attn_norm': 'transformer.h.N.ln_1',
  'blk.N.attn_qkv': 'transformer.h.N.attn.c_attn',
  'blk.N.attn_output': 'transformer.h.N.attn.c_proj',
  'blk.N.ffn_norm': 'transformer.h.N.ln_2',
  'blk.N.ffn_up': 'transformer.h.N.mlp.c_fc',
  'blk.N.ffn_down': 'transformer.h.N.mlp.c_proj',
}
_NEOX_BLOCK = 'gpt_neox.layers.N'
_NEOX = {
  'token_embd': 'gpt_neox.embed_in',
  'output_norm': 'gpt_neox.final_layer_norm',
  'output': 'embed_out',
  'blk.N.attn_norm': f'{_NEOX_BLOCK}.input_layernorm',
  'blk.N.attn_qkv': f'{_NEOX_BLOCK}.attention.query_key_value',
  'blk.N.attn_output': f'{_NEOX_BLOCK}.attention.dense',
  'blk.N.ffn_norm': f'{_NEOX_BLOCK}.post_attention_layernorm',
  'blk.N.ffn_up': f'{_NEOX_BLOCK}.mlp.dense_h_to_4h',
  'blk.N.ffn_down': f'{_NEOX_BLOCK}.mlp.dense_4h_to_h',
}


def _norms(modules):
  return {name: MINUS_ONE for name in modules if name.endswith('_norm')}


_linear_of_gpt2 = ('attn_qkv', 'attn_output', 'ffn_up', 'ffn_down')

ARCHITECTURES = {
  'llama': Architecture(
    gguf_configs.llama,
    _DECODER,
    {'blk.N.attn_q': QUERY, 'blk.N.attn_k': KEY},
    used=('rope_freqs.weight',),
  ),
  'qwen2': Architecture(gguf_configs.qwen2, _DECODER),
  'qwen3': Architecture(gguf_configs.qwen3, _DECODER | _QK_NORM),
  'gemma2': Architecture(gguf_configs.gemma2, _GEMMA, _norms(_GEMMA)),
  'gemma3': Architecture(
    gguf_configs.gemma3, _GEMMA | _QK_NORM, _norms(_GEMMA | _QK_NORM)
  ),
  'gpt2': Architecture(
    gguf_configs.gpt2,
    _GPT2,
    {f'blk.N.{name}.weight': TRANSPOSED for name in _linear_of_gpt2},
  ),
  'gptneox': Architecture(gguf_configs.gpt_neox, _NEOX, {'blk.N.attn_qkv': FUSED}),
}
