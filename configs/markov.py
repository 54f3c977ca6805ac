"""A language of known entropy: does the loss of a small GPT come down to it?

  gpt-jax train --config=configs/markov.py --workdir=runs/markov

Order-2 Markov chain over 16 symbols, Dirichlet(0.2) rows. The least possible loss is
the chain's entropy rate, which the loss curve shows as a line and `eval` subtracts
(`excess`). About a minute on two idle CPU cores. Expected: a plateau near the order-1
entropy, a drop, and at 600 steps an excess of at most 0.06 nats; below -0.005 would
mean that the model sees what it predicts. experiments/LOG.md has measured losses.
"""

from gpt_jax.configs import base


def get_config():
  config = base.get_config()

  config.data.source = 'markov'
  config.data.generator.vocab_size = 16
  config.data.generator.order = 2
  config.data.seq_len = 128

  config.model.num_layers = 2
  config.model.d_model = 64
  config.model.num_heads = 4
  config.model.scan_layers = False

  config.optimizer.learning_rate = 3e-3
  config.schedule.name = 'wsd'  # the drop comes late: decay must wait for it
  config.schedule.cooldown_fraction = 0.3
  config.schedule.warmup_steps = 20
  config.train.steps = 600
  config.train.batch_size = 32

  config.eval.every_steps = 100
  config.eval.max_batches = 16
  config.checkpoint.every_steps = 300
  return config
