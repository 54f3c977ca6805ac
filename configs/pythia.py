"""Pythia's sizes, Biderman et al. 2023 (arXiv:2304.01373), to be trained further.

  gpt-jax train --config=configs/pythia.py:160m --workdir=runs/pythia \
    --config.init_from=models/pythia-160m --config.data.path='texts/*.txt'

To be given: `init_from`, the folder of the model or a run made of it, which brings the
tokenizer, and `data.path`, text as file, glob or folder.

| size | layers, width, heads | parameters |
| --- | --- | --- |
| 70m | 6, 512, 8 | 70,426,624 |
| 160m | 12, 768, 12 | 162,322,944 |
| 410m | 24, 1024, 16 | 405,334,016 |
| 1b | 16, 2048, 8 | 1,011,781,632 |
| 1.4b | 24, 2048, 16 | 1,414,647,808 |
| 2.8b | 32, 2560, 32 | 2,775,208,960 |
| 6.9b | 32, 4096, 32 | 6,857,302,016 |
| 12b | 36, 5120, 40 | 11,846,072,320 |

Counts are those of the paper, and tested. No training has been run here.
"""

from gpt_jax.configs import finetune
from gpt_jax.core.registry import choose

# Layers, width, heads, rows of the vocabulary.
SIZES = {
  '70m': (6, 512, 8, 50304),
  '160m': (12, 768, 12, 50304),
  '410m': (24, 1024, 16, 50304),
  '1b': (16, 2048, 8, 50304),
  '1.4b': (24, 2048, 16, 50304),
  '2.8b': (32, 2560, 32, 50304),
  '6.9b': (32, 4096, 32, 50432),
  '12b': (36, 5120, 40, 50688),
}


def get_config(size='70m'):
  layers, width, heads, rows = choose(SIZES, size, 'configs/pythia.py')
  config = finetune.get_config()

  model = config.model
  model.num_layers, model.d_model, model.num_heads = layers, width, heads
  model.vocab_size = rows
  model.max_seq_len = 2048
  model.block = 'parallel_norms'
  model.position = 'rope'
  model.rope_fraction = 0.25
  model.activation = 'gelu_exact'
  model.tie_embeddings = False
  model.remat = 'auto'

  config.optimizer.learning_rate = 2e-5
  return config
