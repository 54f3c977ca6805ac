"""Mistral 7B (arXiv:2310.06825), to be trained further.

  gpt-jax train --config=configs/mistral.py:7b-v0.1 --workdir=runs/mistral \
    --config.init_from=models/Mistral-7B-v0.1 --config.data.path='texts/*.txt'

To be given: `init_from`, the folder of the model or a run made of it, which brings the
tokenizer, and `data.path`, text as file, glob or folder.

| size | what differs | parameters |
| --- | --- | --- |
| 7b-v0.1 | each layer sees the last 4096 tokens | 7,241,732,096 |
| 7b-v0.3 | no window, a larger vocabulary, rope base 1e6 | 7,248,023,552 |

Counts are those of the published files, and tested. No training has been run here.
"""

from gpt_jax.configs import finetune
from gpt_jax.core.registry import choose

# Rows of the vocabulary, layers, base of the rotary positions.
SIZES = {
  '7b-v0.1': (32_000, 'local:4096', 1e4),
  '7b-v0.3': (32_768, 'global', 1e6),
}


def get_config(size='7b-v0.1'):
  rows, layer, theta = choose(SIZES, size, 'configs/mistral.py')
  config = finetune.get_config()

  model = config.model
  model.num_layers, model.d_model, model.d_ff = 32, 4096, 14_336
  model.num_heads, model.num_kv_heads = 32, 8
  model.vocab_size = rows
  model.max_seq_len = 32_768
  model.layer_pattern = (layer,)
  model.position = 'rope'
  model.rope_theta = theta
  model.norm = 'rmsnorm'
  model.bias = False
  model.activation = 'swiglu'
  model.tie_embeddings = False
  model.remat = 'full'

  config.data.begin_token = '<s>'
  return config
