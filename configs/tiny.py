"""A small GPT on text that comes with Python: the demo, for a laptop CPU.

  gpt-jax train --config=configs/tiny.py --workdir=runs/tiny

Trains 4 layers of width 128 on the interpreter's own reference topics and docstrings
(data.source=python_docs, about 2.3 million characters), with a BPE of 1024 tokens
learned from the training split. About two minutes on two CPU cores. Expected: fewer
held-out bits per byte than the unigram and bigram models that `eval` prints beside it.
The text depends on the Python version, so no loss is promised.
"""

from gpt_jax.configs import base


def get_config():
  config = base.get_config()

  config.data.source = 'python_docs'
  config.data.seq_len = 128
  config.tokenizer.name = 'bpe'
  config.tokenizer.vocab_size = 1024

  config.model.num_layers = 4
  config.model.d_model = 128
  config.model.num_heads = 4
  config.model.position = 'rope'
  config.model.norm = 'rmsnorm'
  config.model.bias = False
  config.model.dtype = 'bfloat16'  # x86 AMX: 1.6 times as fast as float32
  config.model.scan_layers = False  # four layers compile fast, and run faster unrolled

  config.optimizer.learning_rate = 3e-3
  config.schedule.warmup_steps = 50
  config.train.steps = 900
  config.train.batch_size = 16

  config.eval.every_steps = 300
  config.checkpoint.every_steps = 300
  config.logging.sample_prompts = ('The ',)
  return config
