"""Gemma 2 (arXiv:2408.00118) and Gemma 3's texts (arXiv:2503.19786), trained further.

  gpt-jax train --config=configs/gemma.py:3-270m --workdir=runs/gemma \
    --config.init_from=models/gemma-3-270m --config.data.path='texts/*.txt'

To be given: `init_from`, the folder or GGUF file of the model or a run made of it; it
brings the tokenizer; and `data.path`, text as file, glob or folder.

| size | layers, width, heads, key-value heads | parameters |
| --- | --- | --- |
| 3-270m | 18, 640, 4, 1 | 268,098,176 |
| 3-1b | 26, 1152, 4, 1 | 999,885,952 |
| 2-2b | 26, 2304, 8, 4 | 2,614,341,888 |
| 2-9b | 42, 3584, 16, 8 | 9,241,705,984 |
| 2-27b | 46, 4608, 32, 16 | 27,227,128,320 |

Counts are those of the published files, and tested. No training has been run here.
"""

from gpt_jax.configs import finetune
from gpt_jax.core.registry import choose

# Layers, width, heads, key-value heads, head width, MLP width, and what the square of
# the scores' scale divides by.
SIZES = {
  '3-270m': (18, 640, 4, 1, 256, 2048, 256),
  '3-1b': (26, 1152, 4, 1, 256, 6912, 256),
  '2-2b': (26, 2304, 8, 4, 256, 9216, 256),
  '2-9b': (42, 3584, 16, 8, 256, 14_336, 256),
  '2-27b': (46, 4608, 32, 16, 128, 36_864, 144),
}


def get_config(size='3-270m'):
  layers, width, heads, kv_heads, head_dim, d_ff, scale = choose(
    SIZES, size, 'configs/gemma.py'
  )
  config = finetune.get_config()

  model = config.model
  model.num_layers, model.d_model, model.d_ff = layers, width, d_ff
  model.num_heads, model.num_kv_heads, model.head_dim = heads, kv_heads, head_dim
  model.position = 'rope'
  model.norm = 'rmsnorm'
  model.norm_eps = 1e-6
  model.norm_position = 'sandwich'
  model.norm_zero_centered = True
  model.bias = False
  model.activation = 'geglu'
  model.scale_embeddings = True
  model.remat = 'full'
  config.attention.scale = scale**-0.5
  if size.startswith('3-'):
    model.vocab_size = 262_144
    model.max_seq_len = 32_768
    model.qk_norm = 'rmsnorm'
    model.rope_theta = 1e6
    model.rope_local_theta = 1e4
    model.layer_pattern = _pattern(layers, ('local:512',) * 5 + ('global',))
  else:
    model.vocab_size = 256_000
    model.max_seq_len = 8192
    model.logit_softcap = 30.0
    config.attention.softcap = 50.0
    model.layer_pattern = ('local:4096', 'global')

  config.data.begin_token = '<bos>'
  return config


def _pattern(layers, cycle):
  """Returns `cycle`, or all layers where it does not divide them: 26 end in 2 of 6."""
  if layers % len(cycle) == 0:
    return cycle
  return tuple(cycle[i % len(cycle)] for i in range(layers))
