"""BERT, DistilBERT and MiniLM encoders from scratch, on masked tokens only.

  gpt-jax train --config=configs/bert.py:base --workdir=runs/bert \
    --config.data.path='corpus/*.txt.gz'

To be given: `data.path`, text as file, glob or folder. The tokenizer is learned from
it, a BPE of 30,521 tokens; one more hides others, which makes 30,522 rows. BERT's own
WordPiece, with its [MASK] and a [CLS] before each document, goes in with
`--config.tokenizer.name=json --config.tokenizer.path=tokenizer.json
--config.objective.options.mask_token='[MASK]' --config.data.begin_token='[CLS]'`.

| size | layers, width, heads | bare encoder | with its head for masked tokens |
| --- | --- | --- | --- |
| base | 12, 768, 12 | 109,482,240 | 109,514,298 |
| large | 24, 1024, 16 | 335,141,888 | 335,174,458 |
| distilbert | 6, 768, 12 | 66,362,880 | 66,985,530 |
| minilm | 6, 384, 12 | 22,713,216 | 22,744,506 |

Bare encoders are those of transformers, BERT's with the pooler that its second task
trains; the counts are tested. Norm after each sum, exact GELU, learned positions, two
token types (none in distilbert). BERT: Devlin et al., 1810.04805; distilbert: Sanh et
al., 1910.01108, which distils it from base; minilm is the shape of MiniLM-L6-H384
(2002.10957). What differs from all: masked tokens are the only task, and there are no
pairs of sentences. Pretrained ones come in by `gpt-jax import` (docs/interop.md).

Cost of base: 131 billion tokens in a million steps, 9e19 FLOP. Published are scores of
downstream tasks, which this file does not run; no loss is quoted, and no run at this
size has been done here. BERT's recipe is from memory of the paper.
"""

from gpt_jax.configs import base
from gpt_jax.core.registry import choose

SIZES = {
  'base': dict(num_layers=12, d_model=768, num_heads=12),
  'large': dict(num_layers=24, d_model=1024, num_heads=16),
  'distilbert': dict(num_layers=6, d_model=768, num_heads=12, token_types=0),
  'minilm': dict(num_layers=6, d_model=384, num_heads=12),
}


def get_config(size='base'):
  shape = choose(SIZES, size, 'configs/bert.py')
  config = base.get_config()

  model = config.model
  model.token_types = 2
  model.update(shape)
  model.pad_vocab_to_multiple_of = 128
  model.norm_position = 'post'
  model.norm_eps = 1e-12
  model.activation = 'gelu_exact'
  model.head = 'transform'
  model.head_bias = True
  model.dropout = 0.1
  model.dtype = 'bfloat16'

  config.objective.name = 'masked_lm'
  config.data.source = 'text'
  config.data.seq_len = 512
  config.tokenizer.name = 'bpe'
  config.tokenizer.vocab_size = 30521

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
