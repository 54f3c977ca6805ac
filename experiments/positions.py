"""Which positional encodings read rows longer than those of training?

Models trained on short rows read the same held-out text cut into rows of 1, 2, 4 and 8
times that length. Press et al. (2022) find on WikiText-103 that ALiBi's loss keeps
falling as rows grow, while that of sinusoidal and rotary positions rises steeply. `rope
linear` and `rope ntk` read the parameters of `rope` with angles scaled for 8 times the
length (one step at a rate of 1e-12). The paper's T5 bias is not available here.

Here: 2 layers of width 64 on the bytes of Python's documentation, rows of 64. The paper
size is the paper's model on its text (16 layers of width 1024, rows of 512, 286,000
steps; from memory), with AdamW and GPT-2's tokens for Nesterov's descent and words.

What would change our mind: ALiBi more than 0.03 nats worse at 8 times the length than
at the training length, sinusoidal or rotary positions that lose less than 0.2 nats
there, or another encoding ahead at 4 times the length.

  gpt-jax sweep experiments/positions.py
"""

from gpt_jax.analysis import rules
from gpt_jax.plots import over_metrics
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size

PRESS = 'Press et al., arXiv:2108.12409, figure 1 and section 4.1'
TIMES = (1, 2, 4, 8)
LOSSES = {times: f'times_{times}/loss' for times in TIMES}
READ_AS = {  # of the parameters of another row
  'model.position': 'rope', 'init_from': FromRow('rope'), 'train.steps': 1,
  'optimizer.learning_rate': 1e-12, 'schedule.warmup_steps': 0,
}  # fmt: skip


def sets(length):
  """Returns eval.sets: the validation text in rows of multiples of `length`."""
  return {
    f'times_{times}': {'split': 'validation', 'seq_len': times * length}
    for times in TIMES
  }


def growth(result):
  """Returns the loss at 8 times the length minus that at the training length."""
  return result.value('times_8/loss') - result.value('times_1/loss')


def alibi_is_best(results):
  rows = results.study.experiment.rows
  means = {row: results.where(row).mean('times_4/loss') for row in rows}
  return Outcome(means['alibi'] == min(means.values()), means)


def get_experiment():
  return Experiment(
    base='base', metric='times_4/loss',
    rows={
      'alibi': {'model.position': 'alibi'},
      'none': {'model.position': 'none'},
      'rope': {'model.position': 'rope'},
      'rope linear': {'model.rope_scaling': 'linear', **READ_AS},
      'rope ntk': {'model.rope_scaling': 'ntk', **READ_AS},
      'sinusoidal': {'model.position': 'sinusoidal'},
      'learned': {'model.position': 'learned'},
    },
    overrides={
      'model.rope_factor': 8.0, 'eval.every_steps': 0,
      'eval.max_batches': 0,  # the same text for every length
      'checkpoint.every_steps': 0, 'checkpoint.best_metric': 'times_1/loss',
    },
    columns={f'{times}x': LOSSES[times] for times in TIMES} | {'rise': growth},
    claims=(
      Claim(
        'alibi', 'ALiBi loses nothing at 8 times the length.', PRESS, 'ordering', 'V',
        'mean over seeds of the rise in loss from 1 to 8 times, at most 0.03 nats',
        rules.below(0.03, 'alibi', metric=growth),
      ),
      Claim(
        'others', 'Sinusoidal and rotary positions do.', PRESS, 'ordering', 'M',
        'means over seeds of the same rise, each above 0.2 nats',
        rules.all_of(
          rules.above(0.2, 'sinusoidal', metric=growth),
          rules.above(0.2, 'rope', metric=growth),
        ),
      ),
      Claim(
        'best', 'ALiBi is best at 4 times the length.', PRESS, 'ordering', 'V',
        'means over seeds of all rows at 4 times, the lowest', alibi_is_best,
      ),
    ),
    figures=(
      Figure(
        'lengths', 'Rows longer than in training',
        draw=over_metrics.of(
          LOSSES, x_label='times the training length', y_label='nats a token', log2=True
        ),
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=6, seeds=(3, 4, 5),
        overrides={
          'data.source': 'python_docs', 'data.seq_len': 64, 'eval.sets': sets(64),
          'model.num_layers': 2, 'model.d_model': 64, 'model.max_seq_len': 512,
          'model.scan_layers': False,
          'optimizer.learning_rate': 3e-3, 'schedule.warmup_steps': 50,
          'train.steps': 800, 'train.batch_size': 16, 'eval.batch_size': 32,
        },
      ),
      'paper': Size(
        'v5p:2x2x4', minutes=3000, base='gpt2:355m', seeds=(3, 4, 5),
        overrides={
          'data.path': 'wikitext-103/*.txt', 'tokenizer.path': 'gpt2_bpe',
          'data.seq_len': 512, 'eval.sets': sets(512), 'model.max_seq_len': 4096,
          'model.num_layers': 16, 'model.num_heads': 8, 'model.dropout': 0.3,
          'train.steps': 286_000, 'train.batch_size': 144, 'train.grad_accum': 1,
          'schedule.warmup_steps': 16_000, 'eval.every_steps': 10_000,
          'checkpoint.every_steps': 10_000,
        },
      ),
    },
  )  # fmt: skip
