"""Which positional encodings read rows longer than those of training?

Models trained on short rows read the same held-out text cut into rows of 1, 2, 4 and 8
times the length (64 bytes at quick size). Press et al. (2022) find that ALiBi's loss
keeps falling as rows grow, while that of sinusoidal and rotary positions rises steeply.
The rows `rope linear` and `rope ntk` are the parameters of `rope` read with angles
scaled for 8 times the length: runs of one step at a rate of 1e-12. T5's relative bias,
which the paper has too, is not available here.

What would change our mind: ALiBi more than 0.03 nats worse at 8 times the length than
at once, sinusoidal or rotary positions that lose less than 0.2 nats there, or another
encoding ahead at 4 times the length.

  gpt-jax sweep experiments/positions.py
"""

from gpt_jax.analysis import rules
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size

PRESS = 'Press et al., arXiv:2108.12409, figure 1 and section 4.1'
TIMES = (1, 2, 4, 8)
READ_AS = {  # of the parameters of another row
  'init_from': FromRow('rope'),
  'train.steps': 1, 'train.tokens': None,
  'optimizer.learning_rate': 1e-12, 'schedule.warmup_steps': 0,
  'schedule.warmup_tokens': None,
}  # fmt: skip


def sets(length):
  """Returns eval.sets: the validation text in rows of multiples of `length`."""
  return {
    f'times_{times}': {'split': 'validation', 'seq_len': times * length}
    for times in TIMES
  }


def growth(result):
  """Returns the loss at 8 times the length minus that at once."""
  return result.value('times_8/loss') - result.value('times_1/loss')


def alibi_is_best(results):
  rows = results.study.experiment.rows
  means = {row: results.where(row).mean('times_4/loss') for row in rows}
  return Outcome(means['alibi'] == min(means.values()), means)


def draw_lengths(axes, results):
  """Draws loss against length, mean over seeds, each row a curve."""
  for row in results.study.experiment.rows:
    part = results.where(row)
    if len(part):
      losses = [part.mean(f'times_{times}/loss') for times in TIMES]
      axes.plot(TIMES, losses, marker='o', label=row)
  axes.set_xscale('log', base=2)
  axes.set(xlabel='length of the rows, in that of training', ylabel='nats a token')
  axes.legend()


def get_experiment():
  return Experiment(
    base='base',
    metric='times_4/loss',
    rows={
      'alibi': {'model.position': 'alibi'},
      'none': {'model.position': 'none'},
      'rope': {'model.position': 'rope'},
      'rope linear': {
        'model.position': 'rope', 'model.rope_scaling': 'linear', **READ_AS
      },
      'rope ntk': {'model.position': 'rope', 'model.rope_scaling': 'ntk', **READ_AS},
      'sinusoidal': {'model.position': 'sinusoidal'},
      'learned': {'model.position': 'learned'},
    },
    overrides={
      'model.rope_factor': 8.0,
      'eval.every_steps': 0,
      'eval.max_batches': 0,  # the same text for every length
      'checkpoint.every_steps': 0, 'checkpoint.best_metric': 'times_1/loss',
      'logging.sample_prompts': (),
    },
    columns={f'{times}x': f'times_{times}/loss' for times in TIMES} | {'rise': growth},
    claims=(
      Claim(
        'alibi', 'ALiBi loses nothing at 8 times the length.', PRESS, 'ordering', 'V',
        'mean over seeds of the rise in loss from 1 to 8 times, at most 0.03 nats',
        rules.below(0.03, 'alibi', metric=growth),
      ),
      Claim(
        'others', 'Sinusoidal and rotary positions do.', PRESS, 'ordering', 'V',
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
    figures=(Figure('lengths', 'Rows longer than in training', draw=draw_lengths),),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=6, seeds=(3, 4, 5),
        overrides={
          'data.seq_len': 64, 'eval.sets': sets(64),
          'model.num_layers': 2, 'model.d_model': 64, 'model.max_seq_len': 512,
          'model.scan_layers': False,
          'optimizer.learning_rate': 3e-3, 'schedule.warmup_steps': 50,
          'train.steps': 800, 'train.batch_size': 16, 'eval.batch_size': 32,
        },
      ),
      'paper': Size(  # 1.3 B parameters, rows of 1024
        'v5p:4x4x4', minutes=3000, base='gpt3:1.3b', seeds=(3, 4, 5),
        overrides={
          'data.seq_len': 1024, 'eval.sets': sets(1024), 'model.max_seq_len': 8192
        },
      ),
    },
  )  # fmt: skip
