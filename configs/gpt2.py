"""GPT-2's four sizes from scratch, with nanoGPT's recipe: AdamW, 300 billion tokens.

  gpt-jax train --config=configs/gpt2.py:124m --workdir=runs/gpt2 \
    --config.data.path='openwebtext/*.txt.gz' --config.tokenizer.path=gpt2_bpe

To be given: `data.path`, text as file, glob or folder, and `tokenizer.path`, the folder
of GPT-2's encoder.json and vocab.bpe. A single small device also wants a higher
`train.grad_accum` (a divisor of 480); where activations do not fit,
`model.remat='names'` keeps about a quarter of them.

| size | layers, width, heads | parameters | FLOP | OpenWebText loss |
| --- | --- | --- | --- | --- |
| 124m | 12, 768, 12 | 124,439,808 | 2.5e20 | published 2.85 |
| 355m | 24, 1024, 16 | 354,823,168 | 7.2e20 | none published |
| 774m | 36, 1280, 20 | 774,030,080 | 1.5e21 | none published |
| 1558m | 48, 1600, 25 | 1,557,611,200 | 3.0e21 | none published |

2.85 is from nanoGPT's README (8 A100, 4 days), which also gives OpenAI's own weights on
the same text: 3.12, 2.84, 2.67 and 2.54. None of these runs has been reproduced here;
the parameter counts are tested (without the rows that pad the vocabulary to 50304).
nanoGPT gives a learning rate for 124m only; the other sizes take those of the GPT-3
models of like size (Brown et al. 2020, table 2.1). Unlike nanoGPT's run, biases are
kept, as in GPT-2.
"""

from gpt_jax.configs import base
from gpt_jax.core.registry import choose

SIZES = {
  '124m': dict(num_layers=12, d_model=768, num_heads=12, remat='auto'),
  '355m': dict(num_layers=24, d_model=1024, num_heads=16, remat='auto'),
  '774m': dict(num_layers=36, d_model=1280, num_heads=20, remat='auto'),
  '1558m': dict(num_layers=48, d_model=1600, num_heads=25, remat='full'),
}
LEARNING_RATES = {'124m': 6e-4, '355m': 3e-4, '774m': 2.5e-4, '1558m': 2e-4}


def get_config(size='124m'):
  shape = choose(SIZES, size, 'configs/gpt2.py')
  config = base.get_config()

  config.model.update(shape)
  config.model.vocab_size = 50257
  config.model.pad_vocab_to_multiple_of = 128
  config.model.dtype = 'bfloat16'

  config.data.source = 'text'
  config.data.seq_len = 1024
  config.tokenizer.name = 'gpt2'

  config.optimizer.learning_rate = LEARNING_RATES[size]
  config.schedule.warmup_steps = 2000
  config.train.steps = 600_000
  config.train.batch_size = 480  # sequences: 491,520 tokens
  config.train.grad_accum = 5

  config.parallel.mesh = dict(data=-1, fsdp=-1, sequence=1, tensor=1, expert=1)
  config.eval.every_steps = 2000
  config.eval.max_batches = 20
  config.checkpoint.every_steps = 2000
  return config
