"""GPT-3's eight sizes, Brown et al. 2020 (arXiv:2005.14165), table 2.1 and appendix B.

  gpt-jax train --config=configs/gpt3.py:125m --workdir=runs/gpt3 \
    --config.data.path='corpus/*.txt.gz' --config.tokenizer.path=gpt2_bpe

To be given: `data.path`, text as file, glob or folder (or `data.mixture`), and
`tokenizer.path`, the folder of GPT-2's encoder.json and vocab.bpe. The meshes are meant
for pods.

| size | parameters | training FLOP (6 N x 300e9) |
| --- | --- | --- |
| 125m | 125,226,240 | 2.3e20 |
| 350m | 355,871,744 | 6.4e20 |
| 760m | 760,300,032 | 1.4e21 |
| 1.3b | 1,315,723,264 | 2.4e21 |
| 1.3b_as_printed | 1,517,123,584 | 2.7e21 |
| 2.7b | 2,651,553,280 | 4.8e21 |
| 6.7b | 6,658,404,352 | 1.2e22 |
| 13b | 12,853,386,240 | 2.3e22 |
| 13b_as_printed | 12,936,488,380 | 2.3e22 |
| 175b | 174,604,259,328 | 3.1e23 |

Counts are exact for 2048 positions and 50257 tokens, and tested; a run pads the
vocabulary to 50304. The paper fits validation loss by L = 2.57 C^-0.048, C in PF-days
(figure 3.1, published, on its own corpus). No run of this table has been reproduced
here.

Two rows of the table do not fit together as printed. XL has 24 heads of 128 on a width
of 2048; 16 heads give the 1.3 billion of its name. 13B has width 5140, but 40 heads of
128 make 5120. Public reproductions take 16 and 5120, and so do `1.3b` and `13b`; the
rows with `_as_printed` keep the table's numbers.

Choices where the paper is silent:
  * global ("dense") and locally banded layers alternate; the band is 256 tokens;
  * batches of 0.5M, 1M, 2M and 3.2M tokens are 256, 512, 1024 and 1536 sequences, the
    last being 3.1M, which more meshes divide;
  * the batch grows over 4, 6, 8 and 12 billion tokens, in the order of the four batch
    sizes; the paper says 4 to 12 billion, depending on the model. The paper starts from
    32k tokens, 16 sequences, which do not divide over the meshes that large models
    need: the smallest three start there, the others from 64, 128 and 384 sequences;
  * no dropout.
"""

from gpt_jax.configs import base
from gpt_jax.core.registry import choose

BAND = 256

# Layers, width, heads, head width, sequences in a batch, learning rate.
SIZES = {
  '125m': (12, 768, 12, 64, 256, 6.0e-4),
  '350m': (24, 1024, 16, 64, 256, 3.0e-4),
  '760m': (24, 1536, 16, 96, 256, 2.5e-4),
  '1.3b': (24, 2048, 16, 128, 512, 2.0e-4),
  '1.3b_as_printed': (24, 2048, 24, 128, 512, 2.0e-4),
  '2.7b': (32, 2560, 32, 80, 512, 1.6e-4),
  '6.7b': (32, 4096, 32, 128, 1024, 1.2e-4),
  '13b': (40, 5120, 40, 128, 1024, 1.0e-4),
  '13b_as_printed': (40, 5140, 40, 128, 1024, 1.0e-4),
  '175b': (96, 12288, 96, 128, 1536, 0.6e-4),
}
# Sequences in a full batch -> those the ramp starts with, and its length in tokens.
RAMPS = {
  256: (16, 4_000_000_000),
  512: (64, 6_000_000_000),
  1024: (128, 8_000_000_000),
  1536: (384, 12_000_000_000),
}
TENSOR = {'13b': 4, '13b_as_printed': 4, '175b': 8}


def get_config(size='125m'):
  layers, width, heads, head_dim, batch_size, learning_rate = choose(
    SIZES, size, 'configs/gpt3.py'
  )
  config = base.get_config()

  model = config.model
  model.num_layers = layers
  model.d_model = width
  model.num_heads = heads
  model.head_dim = head_dim
  model.layer_pattern = ('global', f'local:{BAND}')
  model.vocab_size = 50257
  model.pad_vocab_to_multiple_of = 128
  model.dtype = 'bfloat16'
  model.remat = 'auto' if width < 2048 else 'full'

  config.data.source = 'text'
  config.data.seq_len = 2048  # packed, no mask between documents, as in the paper
  config.tokenizer.name = 'gpt2'

  config.optimizer.learning_rate = learning_rate
  config.schedule.warmup_tokens = 375_000_000
  config.schedule.decay_tokens = 260_000_000_000  # constant from there to the end
  config.train.steps = None
  config.train.tokens = 300_000_000_000
  config.train.batch_size = batch_size
  ramp_start, ramp_tokens = RAMPS[batch_size]
  config.train.ramp_start_batch_size = ramp_start
  config.train.ramp_tokens = ramp_tokens

  tensor = TENSOR[size] if size in TENSOR else 1
  config.parallel.mesh = dict(data=-1, fsdp=-1, sequence=1, tensor=tensor, expert=1)
  if size == '175b':
    # Its logits are sharded over `tensor`; fused, a step plans 2 GiB more a chip.
    config.objective.loss = 'plain'
  config.eval.every_steps = 1000
  config.eval.max_batches = 20
  config.checkpoint.every_steps = 1000
  return config
