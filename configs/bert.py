"""A BERT-base-like encoder, trained on masked tokens only (Devlin et al., 1810.04805).

  gpt-jax train --config=configs/bert.py --workdir=runs/bert \
    --config.data.path='corpus/*.txt.gz'

To be given: `data.path`, text as file, glob or folder. The tokenizer, a BPE of 30522
tokens, is learned from it; BERT's own WordPiece goes in with
`--config.tokenizer.name=json --config.tokenizer.path=tokenizer.json`.

Twelve layers of width 768, norm after each sum, exact GELU, learned positions:
108,890,112 parameters with 30522 rows, one more row for our [MASK]. That is BERT-base's
published 109,482,240 less its two token types (1,536) and its pooler (590,592). What
else differs: no next-sentence task and so no sentence pairs; the output layer is the
tied embedding alone, without the dense layer, norm and bias of BERT's masked-LM head.

Cost: 131 billion tokens in a million steps, 9e19 FLOP. Published for BERT-base are
scores of downstream tasks, which this file does not run; no loss is quoted, and no run
at this size has been done here. BERT's count and recipe are from memory of the paper.
"""

from gpt_jax.configs import base


def get_config():
  config = base.get_config()

  model = config.model
  model.num_layers = 12
  model.d_model = 768
  model.num_heads = 12
  model.pad_vocab_to_multiple_of = 128
  model.norm_position = 'post'
  model.norm_eps = 1e-12
  model.activation = 'gelu_exact'
  model.dropout = 0.1
  model.dtype = 'bfloat16'

  config.objective.name = 'masked_lm'
  config.data.source = 'text'
  config.data.seq_len = 512
  config.tokenizer.name = 'bpe'
  config.tokenizer.vocab_size = 30522

  config.optimizer.learning_rate = 1e-4
  config.optimizer.b2 = 0.999
  config.optimizer.eps = 1e-6
  config.optimizer.weight_decay = 0.01
  config.schedule.name = 'linear'
  config.schedule.warmup_steps = 10_000
  config.schedule.final_fraction = 0.0
  config.train.steps = 1_000_000
  config.train.batch_size = 256

  config.eval.every_steps = 5000
  config.eval.max_batches = 20
  config.checkpoint.every_steps = 5000
  return config
