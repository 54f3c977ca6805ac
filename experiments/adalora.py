"""Does a rank for each matrix beat one rank for all, at the same number of them?

AdaLoRA (Zhang et al. 2023, arXiv:2303.10512) fine-tunes with updates P diag(E) Q, takes
away the singular values E of the lowest importance by a cubic schedule, and leaves more
of them to the matrices that need them. From memory: at equal budgets it is better than
LoRA on GLUE (table 1), and ranks come out uneven, higher in the MLP and in later layers
(figure 3).

Here: 4 layers of width 64 read the docstrings of Python's library as bytes, and are
then adapted to its source code: all by LoRA of rank 8 in every linear map, or by
AdaLoRA from rank 12 to 8 on average. Both train at one rate; neither was given its
best. The schedule is that of the authors' example, 500 steps of warm-up and 1,500 at
the final budget of 3,000, at a tenth of the length.

What would change our mind: a loss more than 0.01 nats above that of LoRA, or ranks that
stay even.

At paper size a model of the shape of GPT-2 124M, pretrained and adapted on texts of
your own. The paper's DeBERTaV3 cannot be read here.

  gpt-jax sweep experiments/adalora.py
"""

import numpy as np

from gpt_jax.analysis import rules
from gpt_jax.plots import heat_map
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size

PAPER = 'Zhang et al. 2023, arXiv:2303.10512'
ADALORA, LORA = 'AdaLoRA', 'LoRA'
TARGETS = (
  'attention/query', 'attention/key', 'attention/value', 'attention/out', 'mlp/up',
  'mlp/down',
)  # fmt: skip
FIRST, LAST = 12, 8


def ranks_LC(result):
  """Returns the final ranks of a run of AdaLoRA, layers by TARGETS."""
  layers = result.point.config.model.num_layers
  return np.array(
    [
      [result.value(f'ranks/{target}/layer_{i}') for target in TARGETS]
      for i in range(layers)
    ]
  )


def is_exact(results):
  """Checks the sum of the final ranks, by the map and by the metric of each run."""
  numbers, holds = {}, True
  for result in results.where(ADALORA):
    expected = LAST * len(TARGETS) * result.point.config.model.num_layers
    total, last = ranks_LC(result).sum(), result.value('train/rank')
    numbers[f'seed {result.seed}'] = float(total)
    holds = holds and total == last == expected
  return Outcome(holds, numbers)


def follows_the_cubic(results):
  """Checks the rank at five steps that mask, against equation 12 written out."""
  numbers, holds = {}, True
  for result in results.where(ADALORA):
    config = result.point.config
    steps = config.train.steps
    begin, end = steps // 6, steps - steps // 2
    matrices = len(TARGETS) * config.model.num_layers
    ranks = dict(zip(*result.curve('train/rank'), strict=True))
    for step in np.linspace(begin, end, 6)[1:].astype(int) // 10 * 10:
      left = 1 - (step - begin) / (end - begin)
      expected = int(matrices * (LAST + (FIRST - LAST) * left**3))
      numbers[f'seed {result.seed}, step {step}'] = ranks.get(step, np.nan)
      holds = holds and ranks.get(step) == expected
  return Outcome(holds, numbers)


def are_uneven(results):
  """Checks the standard deviation of the final ranks over all matrices of a run."""
  spreads = {
    f'seed {result.seed}': float(ranks_LC(result).std())
    for result in results.where(ADALORA)
  }
  return Outcome(all(spread >= 1 for spread in spreads.values()), spreads)


def draw_ranks(axes, results):
  """Draws the final ranks, means over seeds, layers by targets."""
  mean_LC = np.mean([ranks_LC(result) for result in results.where(ADALORA)], axis=0)
  layers = [str(i + 1) for i in range(len(mean_LC))]
  targets = [target.replace('/', '\n') for target in TARGETS]
  heat_map.draw(axes, mean_LC, layers, targets, low=0, high=FIRST, digits=1)
  axes.set(ylabel='layer')


draw_ranks.caption = f'Mean over seeds; LoRA has {LAST} everywhere.'


def get_experiment():
  adapted = {'init_from': FromRow('pretrained'), 'peft.options.targets': ''}
  return Experiment(
    base='base', compare_to=LORA,
    rows={
      LORA: {'peft.name': 'lora', 'peft.options.rank': LAST, **adapted},
      ADALORA: {
        'peft.name': 'adalora', 'peft.options.initial_rank': FIRST,
        'peft.options.target_rank': LAST, **adapted,
      },
      'pretrained': {'data.source': 'python_docs'},
    },
    overrides={
      'data.source': 'python_source', 'logging.every_steps': 10,
      'checkpoint.every_steps': 0,
    },
    claims=(
      Claim(
        'budget', 'At the end as many singular values are left as the target says.',
        f'{PAPER}, section 3.3', 'exact', 'M', 'each run, no tolerance', is_exact,
      ),
      Claim(
        'schedule', 'Their number follows the cubic schedule.', f'{PAPER}, equation 12',
        'exact', 'M', 'each run at five steps, rounded down, no tolerance',
        follows_the_cubic,
      ),
      Claim(
        'loss', 'It is no worse than LoRA with as many.', f'{PAPER}, table 1',
        'ordering', 'M', 'mean over seeds, at most 0.01 nats above that of LoRA',
        rules.better(ADALORA, than=LORA, by=-0.01),
      ),
      Claim(
        'uneven', 'Matrices come out with unlike ranks.', f'{PAPER}, figure 3',
        'mechanism', 'M', 'each run, standard deviation over matrices at least 1',
        are_uneven,
      ),
    ),
    figures=(
      Figure('ranks', 'Final ranks', draw=draw_ranks),
      Figure(
        'loss', 'Held-out loss on source code', y_label='nats a byte',
        select=lambda results: results.only(lambda point: point.row != 'pretrained'),
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=6, seeds=(3, 4, 5),
        overrides={
          'data.seq_len': 64, 'train.batch_size': 16, 'train.steps': 300,
          'model.num_layers': 4, 'model.d_model': 64, 'model.num_heads': 4,
          'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
          'model.scan_layers': False, 'optimizer.learning_rate': 5e-3,
          'schedule.warmup_steps': 20, 'eval.every_steps': 100, 'eval.max_batches': 64,
        },
        rows={'pretrained': {'train.steps': 600}},
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=600, seeds=(3, 4, 5),
        overrides={
          'data.source': 'text', 'data.path': 'adapted/*.txt.gz', 'data.seq_len': 1024,
          'tokenizer.name': 'gpt2', 'train.batch_size': 64, 'train.steps': 3_000,
          'model.num_layers': 12, 'model.d_model': 768, 'model.num_heads': 12,
          'model.dtype': 'bfloat16', 'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
          'optimizer.learning_rate': 5e-4, 'schedule.warmup_steps': 100,
          'eval.every_steps': 500, 'eval.max_batches': 64,
        },
        rows={
          'pretrained': {
            'data.source': 'text', 'data.path': 'corpus/*.txt.gz',
            'train.steps': 20_000, 'train.batch_size': 256,
            'optimizer.learning_rate': 6e-4, 'schedule.warmup_steps': 700,
          },
        },
      ),
    },
  )  # fmt: skip
