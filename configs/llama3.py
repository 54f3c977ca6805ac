"""Llama 3.1 and 3.2 (arXiv:2407.21783), to be trained further.

  gpt-jax train --config=configs/llama3.py:3.2-1b --workdir=runs/llama3 \
    --config.init_from=models/Llama-3.2-1B --config.data.path='texts/*.txt'

To be given: `init_from`, the folder of the model or a run made of it, which brings the
tokenizer, and `data.path`, text as file, glob or folder. Older Llamas, from scratch:
`configs/llama.py`.

| size | layers, width, heads, key-value heads | parameters |
| --- | --- | --- |
| 3.2-1b | 16, 2048, 32, 8 | 1,235,814,400 |
| 3.2-3b | 28, 3072, 24, 8 | 3,212,749,824 |
| 3.1-8b | 32, 4096, 32, 8 | 8,030,261,248 |
| 3.1-70b | 80, 8192, 64, 8 | 70,553,706,496 |

Counts are those of the published files, and tested. No training has been run here.
"""

from gpt_jax.configs import finetune
from gpt_jax.core.registry import choose

# Layers, width, heads, head width, MLP width, factor of the rotary positions.
SIZES = {
  '3.2-1b': (16, 2048, 32, 64, 8192, 32.0),
  '3.2-3b': (28, 3072, 24, 128, 8192, 32.0),
  '3.1-8b': (32, 4096, 32, 128, 14336, 8.0),
  '3.1-70b': (80, 8192, 64, 128, 28672, 8.0),
}


def get_config(size='3.2-1b'):
  layers, width, heads, head_dim, d_ff, factor = choose(
    SIZES, size, 'configs/llama3.py'
  )
  config = finetune.get_config()

  model = config.model
  model.num_layers, model.d_model, model.d_ff = layers, width, d_ff
  model.num_heads, model.num_kv_heads, model.head_dim = heads, 8, head_dim
  model.vocab_size = 128_256
  model.max_seq_len = 131_072
  model.position = 'rope'
  model.rope_theta = 500_000.0
  model.rope_scaling = 'llama3'
  model.rope_factor = factor
  model.rope_original_len = 8192
  model.norm = 'rmsnorm'
  model.bias = False
  model.activation = 'swiglu'
  model.tie_embeddings = size.startswith('3.2')
  model.remat = 'full'

  config.data.begin_token = '<|begin_of_text|>'
  return config
