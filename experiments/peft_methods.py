"""Which way of fine-tuning, for which score, at how many trained parameters?

Every method of `gpt_jax/peft` beside full fine-tuning and the last layers, on sentiment
(SST-2, 2,000 sentences, a MiniLM of 6 layers) and on summaries of dialogues (DialogSum,
Gemma 3 270M). LoRA of GPT-3 is at least as good as full fine-tuning with 0.003 % to
0.02 % of the parameters (Hu et al. 2021, table 4), adapters are within 0.4 points of it
on GLUE (Houlsby et al. 2019, abstract).

Rates of the BERT are the best of two or three at seed 0, by validation; seeds 1, 2 and
3 judge. Of Gemma those of full and LoRA 16 are the best of three, by the loss of
validation at seed 0; the others are guesses.

The models are not shipped: put them, or links to them, at BERT and GEMMA below, and the
data where GPT_JAX_DATA says. What a step costs with each method, in one alternating
run: `gpt-jax bench --what=peft`. docs/peft_results.md has the tables.

What would change our mind: LoRA of rank 16 more than a point below full fine-tuning.

  gpt-jax sweep experiments/peft_methods.py --size=sst2 --jobs=2
  gpt-jax report experiments/peft_methods.py --size=sst2
"""

import numpy as np

from gpt_jax.analysis import end_scores, rules
from gpt_jax.benchmarks.peft_methods import METHODS
from gpt_jax.plots import palette
from gpt_jax.sweeps import Claim, Experiment, Figure, Size, costs

BERT, GEMMA = 'models/all-MiniLM-L6-v2', 'models/gemma-3-270m'
LORA = 'Hu et al. 2021, arXiv:2106.09685, table 4'
ACCURACY, ROUGE = end_scores.of('test/accuracy'), end_scores.of('test/rouge1')


# A scale of alpha / sqrt(rank) lets one rate suit all ranks (arXiv:2312.03732).
SCALE = {'peft.options.alpha': 4.0, 'peft.options.rank_stabilized': True}
ROWS = {
  'full': METHODS['full'],
  'last layers': METHODS['last_layers'],
  **{f'LoRA {rank}': METHODS[f'lora_{rank}'] | SCALE for rank in (1, 4, 16, 64)},
  'QLoRA 16': METHODS['qlora'] | SCALE,
  'AdaLoRA': METHODS['adalora'],
  'adapters': METHODS['adapters'],
  'prefix': METHODS['prefix'],
  'prompt': METHODS['prompt'],
  'IA3': METHODS['ia3'],
  'BitFit': METHODS['bitfit'],
}
RATES = {  # of the BERT, and of Gemma
  'full': (1e-4, 2e-5), 'last layers': (3e-4, 1e-4), 'LoRA 1': (1e-3, 1e-3),
  'LoRA 4': (1e-3, 1e-3), 'LoRA 16': (1e-3, 2e-3), 'LoRA 64': (1e-3, 1e-3),
  'QLoRA 16': (1e-3, 1e-3), 'AdaLoRA': (3e-3, 3e-3), 'adapters': (3e-3, 2e-3),
  'prefix': (1e-3, 1e-2), 'prompt': (1e-2, 3e-2), 'IA3': (3e-2, 3e-2),
  'BitFit': (3e-3, None),
}  # fmt: skip


def trained(result):
  """Returns how many parameters train, without the task head."""
  return costs.trained_parameters(costs.read_config(result.point.workdir))


def label_apart(axes, points):
  """Writes the name of each (x, y, name) beside it, the names below one another."""
  taken = []
  for x, y, name in points:
    at = axes.transData.transform((x, y)) * 72 / axes.figure.dpi  # in points
    free = (
      shift
      for shift in (3, -11, 14, -22, 25, -33)
      if all(abs(at[0] - u) > 60 or abs(at[1] + shift - v) > 8 for u, v in taken)
    )
    shift = next(free, 3)
    taken.append((at[0], at[1] + shift))
    axes.annotate(
      name, (x, y), xytext=(5, shift), textcoords='offset points', fontsize=8
    )


def draw(metric):
  """Returns what draws a score by trained parameters, means and ranges of seeds."""

  def on(axes, results):
    axes.set(xscale='log', xlabel='trained parameters', ylabel=metric.__name__)
    points = []
    for group in results.groups():
      scores = list(group.by_seed(metric).values())
      count = trained(next(iter(group)))
      axes.plot(
        [count, count], [min(scores), max(scores)], color=palette.REFERENCE, lw=1
      )
      axes.plot(count, np.mean(scores), 'o', color=palette.SERIES[0])
      points.append((count, np.mean(scores), group.points[0].row))
    axes.margins(x=0.15)
    label_apart(axes, sorted(points))

  on.caption = 'Means; lines are ranges over seeds. The task head is not counted.'
  return on


def at_rates(model):
  return {
    row: {'optimizer.learning_rate': of_models[model]}
    for row, of_models in RATES.items()
    if of_models[model]
  }


def get_experiment():
  return Experiment(
    base='finetune:sst2', rows=ROWS, compare_to='full',
    metric='validation/accuracy', higher_is_better=True,
    overrides={'eval.every_epochs': 1, 'checkpoint.every_epochs': 1},
    claims=(
      Claim(
        'accuracy', 'LoRA is within a point of full fine-tuning.', LORA, 'ordering',
        'M', 'mean over 3 seeds on the test set, at most 0.01 below',
        rules.better('LoRA 16', than='full', by=-0.01, metric=ACCURACY, higher=True),
        sizes=('sst2',),
      ),
      Claim(
        'ROUGE-1', 'LoRA is within a point of full fine-tuning.', LORA, 'ordering',
        'M', 'mean over 3 seeds on the test set, at most 0.01 below',
        rules.better('LoRA 16', than='full', by=-0.01, metric=ROUGE, higher=True),
        sizes=('dialogsum',),
      ),
    ),
    figures=(
      Figure(
        'accuracy', 'Accuracy on the test set', draw=draw(ACCURACY), sizes=('sst2',)
      ),
      Figure(
        'rouge1', 'ROUGE-1 on the test set', draw=draw(ROUGE), sizes=('dialogsum',)
      ),
    ),
    columns={'trained': trained},
    sizes={
      'sst2': Size(
        'two CPU cores', minutes=60, seeds=(1, 2, 3),
        overrides={'init_from': BERT, 'task.max_examples': 2000},
        columns={'test accuracy': ACCURACY},
        rows=at_rates(0),
      ),
      'dialogsum': Size(
        'two CPU cores', minutes=90, seeds=(1, 2, 3), base='finetune:dialogsum',
        overrides={
          'init_from': GEMMA, 'data.seq_len': 160, 'task.max_examples': 96,
          'task.max_eval_examples': 40, 'train.batch_size': 4, 'train.epochs': 1.0,
        },
        columns={'test ROUGE-1': ROUGE, 'ROUGE-L': end_scores.of('test/rougeL')},
        # Gemma has no biases.
        rows=at_rates(1), only_rows=tuple(row for row in ROWS if row != 'BitFit'),
      ),
    },
  )  # fmt: skip
