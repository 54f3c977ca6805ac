"""Where configs of pretrained models start: a short training on text of yours.

The rates and steps are a start for small sets of text; the papers' own recipes are for
trillions of tokens. `configs/llama3.py` and its kin put published models on top of it.
By itself it has the small model of `configs/base.py`, with no weights to start from:

  gpt-jax train --config=configs/finetune.py --workdir=runs/mine \
    --config.tokenizer.name=byte --config.data.path='texts/*.txt'

No training has been run here, and no score is claimed.
"""

from gpt_jax.configs import base


def get_config():
  config = base.get_config()
  config.model.dtype = 'bfloat16'

  config.data.source = 'text'
  config.data.seq_len = 1024
  config.tokenizer.name = 'json'  # that of init_from

  config.optimizer.learning_rate = 1e-5
  config.optimizer.weight_decay = 0.0
  config.schedule.warmup_steps = 50
  config.train.steps = 1000
  config.train.batch_size = 64

  config.parallel.mesh = dict(data=-1, fsdp=-1, sequence=1, tensor=1, expert=1)
  config.eval.max_batches = 20
  return config
