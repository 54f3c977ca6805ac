"""Llama-shaped models: RMSNorm, rotary positions, SwiGLU, no biases, untied head.

  gpt-jax train --config=configs/llama.py:1b --workdir=runs/llama \
    --config.data.path='corpus/*.txt.gz' --config.tokenizer.path=tokenizer.model

To be given: `data.path`, text as file, glob or folder, and `tokenizer.path`, a
SentencePiece model of 32000 tokens (or another `tokenizer.name` with
`--config.model.vocab_size=None`).

| size | shape of | parameters | tokens | training FLOP (6 N D) |
| --- | --- | --- | --- | --- |
| 1b | TinyLlama 1.1B, arXiv:2401.02385 | 1,100,048,384 | 3e12 | 2.0e22 |
| 7b | Llama 2 7B, arXiv:2307.09288 | 6,738,415,616 | 2e12 | 8.1e22 |

Counts are tested. Sizes and recipes follow the two papers from memory of their tables
and were not checked against them again; no loss is quoted, and no run has been done
here.
"""

from gpt_jax.configs import base
from gpt_jax.core.registry import choose

SIZES = {
  '1b': dict(
    model=dict(num_layers=22, d_model=2048, num_heads=32, num_kv_heads=4, d_ff=5632),
    seq_len=2048, batch_size=1024, tokens=3_000_000_000_000, learning_rate=4e-4,
  ),
  '7b': dict(
    model=dict(num_layers=32, d_model=4096, num_heads=32, num_kv_heads=32, d_ff=11008),
    seq_len=4096, batch_size=1024, tokens=2_000_000_000_000, learning_rate=3e-4,
  ),
}  # fmt: skip


def get_config(size='1b'):
  chosen = choose(SIZES, size, 'configs/llama.py')
  config = base.get_config()

  model = config.model
  model.update(chosen['model'])
  model.vocab_size = 32000
  model.position = 'rope'
  model.norm = 'rmsnorm'
  model.norm_eps = 1e-5
  model.activation = 'swiglu'
  model.bias = False
  model.tie_embeddings = False
  model.dtype = 'bfloat16'
  model.remat = 'full'

  config.data.source = 'text'
  config.data.seq_len = chosen['seq_len']
  config.tokenizer.name = 'sentencepiece'

  config.optimizer.learning_rate = chosen['learning_rate']
  config.optimizer.weight_decay = 0.1
  config.schedule.warmup_steps = 2000
  config.schedule.final_fraction = 0.1
  config.train.steps = None
  config.train.tokens = chosen['tokens']
  config.train.batch_size = chosen['batch_size']

  config.parallel.mesh = dict(data=-1, fsdp=-1, sequence=1, tensor=1, expert=1)
  config.eval.every_steps = 1000
  config.eval.max_batches = 20
  config.checkpoint.every_steps = 1000
  return config
