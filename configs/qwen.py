"""Qwen2.5 (arXiv:2412.15115) and Qwen3 (arXiv:2505.09388), to be trained further.

  gpt-jax train --config=configs/qwen.py:2.5-0.5b --workdir=runs/qwen \
    --config.init_from=models/Qwen2.5-0.5B --config.data.path='texts/*.txt'

To be given: `init_from`, the folder of the model or a run made of it, which brings the
tokenizer, and `data.path`, text as file, glob or folder.

| size | layers, width, heads, key-value heads | parameters |
| --- | --- | --- |
| 2.5-0.5b | 24, 896, 14, 2 | 494,032,768 |
| 2.5-1.5b | 28, 1536, 12, 2 | 1,543,714,304 |
| 2.5-3b | 36, 2048, 16, 2 | 3,085,938,688 |
| 2.5-7b | 28, 3584, 28, 4 | 7,615,616,512 |
| 3-0.6b | 28, 1024, 16, 8 | 596,049,920 |
| 3-1.7b | 28, 2048, 16, 8 | 1,720,574,976 |
| 3-4b | 36, 2560, 32, 8 | 4,022,468,096 |
| 3-8b | 36, 4096, 32, 8 | 8,190,735,360 |

Counts are those of the published files, and tested. No training has been run here.
"""

from gpt_jax.configs import finetune
from gpt_jax.core.registry import choose

# Layers, width, heads, key-value heads, head width, MLP width.
SIZES = {
  '2.5-0.5b': (24, 896, 14, 2, 64, 4864),
  '2.5-1.5b': (28, 1536, 12, 2, 128, 8960),
  '2.5-3b': (36, 2048, 16, 2, 128, 11_008),
  '2.5-7b': (28, 3584, 28, 4, 128, 18_944),
  '3-0.6b': (28, 1024, 16, 8, 128, 3072),
  '3-1.7b': (28, 2048, 16, 8, 128, 6144),
  '3-4b': (36, 2560, 32, 8, 128, 9728),
  '3-8b': (36, 4096, 32, 8, 128, 12_288),
}
UNTIED = ('2.5-7b', '3-8b')


def get_config(size='2.5-0.5b'):
  layers, width, heads, kv_heads, head_dim, d_ff = choose(
    SIZES, size, 'configs/qwen.py'
  )
  config = finetune.get_config()
  is_third = size.startswith('3-')

  model = config.model
  model.num_layers, model.d_model, model.d_ff = layers, width, d_ff
  model.num_heads, model.num_kv_heads, model.head_dim = heads, kv_heads, head_dim
  model.vocab_size = 152_064 if size == '2.5-7b' else 151_936
  model.max_seq_len = 32_768
  model.position = 'rope'
  model.rope_theta = 1e6
  model.norm = 'rmsnorm'
  model.norm_eps = 1e-6
  model.bias = False
  model.qkv_bias = not is_third
  model.qk_norm = 'rmsnorm' if is_third else 'none'
  model.activation = 'swiglu'
  model.tie_embeddings = size not in UNTIED
  model.remat = 'full'

  return config
