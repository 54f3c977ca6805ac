"""What do few trained parameters cost in learning, and save in forgetting?

Methods that train little against full fine-tuning, on much data and on little. Houlsby
et al. 2019 (adapters) come within 0.4 % of it on GLUE with 3.6 % of its parameters.
Biderman et al. 2024 (LoRA learns less and forgets less, arXiv:2405.09673) find that
LoRA stays behind in the new domain and loses less of the old. Shuttleworth et al. 2024
(arXiv:2410.21228) find that it does so in another way: its matrices have intruder
dimensions, strong singular vectors like none of the pretrained matrix, and those of
full fine-tuning hardly any.

Here: 2 layers of width 64 read the docstrings of Python's library as bytes (the old
domain) and are then adapted to its source code, all of it or 100 rows of 64 bytes, one
from the middle of each of 100 files. Forgetting is what the loss on docstrings has
risen by. Intruders are those of the first 10 singular vectors of each matrix whose
cosines with all of before are below 0.5 (`gpt_jax/analysis/intruder_dimensions.py`).

Every method has the rate at which one of its sizes was best at seed 0 (`TRIED`), on all
of the code and on 100 rows apart, where the best are 10 to 33 times smaller. There full
fine-tuning comes to 1.99 nats at its own rate, but to 2.52 at that for all of the code,
so a comparison at one rate would say little. Intruders depend on it as well: at seed 0
full fine-tuning on all of the code had 0, 1 and 31 at 1e-3, 3e-3 and 1e-2, LoRA of rank
4 had 5, 27 and 44 at 3e-3, 1e-2 and 3e-2. Each is counted where it learns best.

What would change our mind: a size that is worse than a smaller one, a method above full
fine-tuning on much data, none as good on little, a LoRA that forgets more, or fewer
intruders of rank 1 and 4 than of full fine-tuning.

At paper size a model of the shape of GPT-2 124M, pretrained and adapted on texts of
your own, much data alone; rates are from memory.

  gpt-jax sweep experiments/peft_pareto.py
"""

import dataclasses
import functools

import numpy as np

from gpt_jax.analysis import intruder_dimensions, rules
from gpt_jax.data import make_source
from gpt_jax.data.source import Source
from gpt_jax.plots import palette
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size, costs

BASE, FULL, FEW = 'pretrained', 'full', ', 100 rows'
METHODS = {
  FULL: {FULL: {}},
  'last layers': {'last layer': {'name': 'last_layers', 'options.layers': 1}},
  'biases': {'biases': {'name': 'bitfit'}},
  'adapters': {
    f'adapters m={m}': {'name': 'adapters', 'options.size': m} for m in (4, 16, 64)
  },
  'prefix': {
    # Without the MLP, whose parameters would be most of what trains.
    f'prefix {n}': {
      'name': 'prefix', 'options.length': n, 'options.reparametrize': False,
    }
    for n in (1, 5, 20)
  },
  'LoRA': {
    f'LoRA r={r}': {'name': 'lora', 'options.rank': r, 'options.targets': ''}
    for r in (1, 4, 16)
  },
}  # fmt: skip
TRIED = {
  '': {
    FULL: (FULL, 1e-3, 3e-3, 1e-2),
    'last layers': ('last layer', 1e-3, 3e-3, 1e-2, 3e-2),
    'biases': ('biases', 1e-2, 3e-2, 1e-1),
    'adapters': ('adapters m=16', 3e-3, 1e-2, 3e-2, 1e-1),
    'prefix': ('prefix 5', 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    'LoRA': ('LoRA r=4', 3e-3, 1e-2, 3e-2),
  },
  FEW: {
    FULL: (FULL, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    'last layers': ('last layer', 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    'biases': ('biases', 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    'adapters': ('adapters m=16', 1e-3, 3e-3, 1e-2, 3e-2),
    'prefix': ('prefix 5', 3e-3, 1e-2, 3e-2, 1e-1),
    'LoRA': ('LoRA r=4', 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
  },
}
"""Of each method one size and the rates that seed 0 tried."""
RATES = {
  '': {
    FULL: 3e-3, 'last layers': 1e-2, 'biases': 1e-1, 'adapters': 3e-2, 'prefix': 3e-1,
    'LoRA': 1e-2,
  },
  FEW: {
    FULL: 1e-4, 'last layers': 3e-4, 'biases': 3e-3, 'adapters': 3e-3, 'prefix': 1e-2,
    'LoRA': 3e-4,
  },
}  # fmt: skip
SMALL = {
  'data.seq_len': 64, 'train.batch_size': 16, 'train.steps': 150,
  'model.num_layers': 2, 'model.d_model': 64, 'model.num_heads': 4,
  'model.position': 'rope', 'model.scan_layers': False,
  'optimizer.learning_rate': 5e-3, 'schedule.warmup_steps': 20, 'eval.max_batches': 40,
}  # fmt: skip
PRETRAINING = {'train.steps': 500}
CODE, OLD = 'validation/loss', 'docstrings/loss'
PAPER_RATES = {
  FULL: 1e-4, 'last layers': 1e-4, 'biases': 1e-3, 'adapters': 5e-4, 'prefix': 1e-2,
  'LoRA': 5e-4,
}  # fmt: skip
OTHERS = [row for sizes in METHODS.values() for row in sizes if row != FULL]
JUDGED = ('quick', 'paper')
BIDERMAN = 'Biderman et al. 2024, arXiv:2405.09673, abstract'
SHUTTLEWORTH = 'Shuttleworth et al. 2024, arXiv:2410.21228, abstract'


def make_few(data):
  """Returns 100 rows of Python's code; a `data.source` as `MODULE:make_few`."""
  source = make_source(dataclasses.replace(data, source='python_source'))
  return FewRows(source, 100, data.seq_len - 1)  # and the end token


class FewRows(Source):
  """The middle `length` characters of `count` documents, evenly spread, of a source."""

  def __init__(self, source, count, length):
    self._source, self._count, self._length = source, count, length
    self.fingerprint = source.fingerprint | {'rows': count, 'row_length': length}

  def __len__(self):
    return min(self._count, len(self._source))

  def __getitem__(self, i):
    text = self._source[i * len(self._source) // len(self)]['text']
    begin = max(0, (len(text) - self._length) // 2)
    return {'text': text[begin : begin + self._length]}


def trained(result):
  """Returns how many parameters train."""
  return costs.trained_parameters(costs.read_config(result.point.workdir))


def forgetting(results, row):
  """Returns {seed: nats that `row` has lost on docstrings}."""
  before, after = results.where(row=BASE), results.where(row=row)
  before_S, after_S = before.by_seed(OLD), after.by_seed(OLD)
  return {seed: after_S[seed] - before_S[seed] for seed in after_S}


def intruders(result):
  """Returns the intruder dimensions of all matrices of a run together.

  Of methods that leave the matrices as they are 0.
  """
  config = result.point.config
  if config.peft.name in ('adapters', 'prefix', 'bitfit') or not config.init_from:
    return 0
  return _intruders(config.init_from, str(result.point.workdir))


@functools.cache
def _intruders(base, tuned):
  return intruder_dimensions.of_runs(base, tuned).total


def full_forgets_more(results):
  """Checks that no row of LoRA has lost as much as full fine-tuning has."""
  lost = {
    row: float(np.mean(list(forgetting(results, row).values())))
    for row in (FULL, *METHODS['LoRA'])
  }
  holds = all(lost[row] < lost[FULL] for row in METHODS['LoRA'])
  return Outcome(holds, {f'{row} forgets': value for row, value in lost.items()})


def best_of_few(results):
  """Checks the best method that trains few against full tuning, on 100 rows."""
  means = {
    row: results.where(row=row + FEW).mean(CODE)
    for sizes in METHODS.values()
    for row in sizes
  }
  full = means.pop(FULL)
  best = min(means, key=means.__getitem__)
  return Outcome(means[best] <= full, {'full': full, best: means[best]})


def draw_losses(few):
  """Returns the `draw` of the loss on code over what trains, a line for each method."""

  def draw(axes, results):
    for i, (method, sizes) in enumerate(METHODS.items()):
      x_S, y_S = [], []
      color, style, marker = palette.of_number(i)
      for row in sizes:
        found = list(results.where(row=row + few))
        if not found:
          continue
        x_S.append(trained(found[0]))
        y_S.append(np.mean([one.value(CODE) for one in found]))
      axes.plot(x_S, y_S, color=color, linestyle=style, marker=marker, label=method)
    before = np.mean([one.value(CODE) for one in results.where(row=BASE)])
    axes.axhline(before, color=palette.REFERENCE, linestyle=':', label='not adapted')
    axes.set_xscale('log')
    axes.set(xlabel='parameters that train', ylabel='nats a byte of code')
    axes.legend()

  draw.caption = 'Means over seeds, which differ more by what each is scored on.'
  return draw


def draw_trade(axes, results):
  """Draws what is learned against what is forgotten, on all of the code."""
  before = results.where(row=BASE).mean(CODE)
  for i, (method, sizes) in enumerate(METHODS.items()):
    color, style, marker = palette.of_number(i)
    points = [
      (
        before - results.where(row=row).mean(CODE),
        np.mean(list(forgetting(results, row).values())),
      )
      for row in sizes
    ]
    x_S, y_S = zip(*points, strict=True)
    axes.plot(x_S, y_S, color=color, linestyle=style, marker=marker, label=method)
  axes.set(xlabel='learned of code, nats a byte', ylabel='forgotten of docstrings')
  axes.legend()


draw_trade.caption = 'Means over seeds; a line joins the sizes of a method.'


def row_of(method, name, few, rate):
  fields = {f'peft.{key}': value for key, value in METHODS[method][name].items()}
  data = {'data.source': 'experiments.peft_pareto:make_few'} if few else {}
  return {
    'init_from': FromRow(BASE), 'optimizer.learning_rate': rate, **fields, **data,
  }  # fmt: skip


def improves(method):
  return rules.falling(tuple(METHODS[method]), metric=CODE)


def rows_of(few):
  """Returns the rows of all sizes of all methods on all of the code, or on FEW."""
  return {
    name + few: row_of(method, name, few, RATES[few][method])
    for method, sizes in METHODS.items()
    for name in sizes
  }


def tried(few):
  """Returns the rows by which the rates were chosen."""
  return {
    f'{name}{few}, rate {rate:g}': row_of(method, name, few, rate)
    for method, (name, *rates) in TRIED[few].items()
    for rate in rates
  }


CLAIMS = (
  Claim(
    'size', 'A larger adapter, a longer prefix, a higher rank learns more.',
    'expected by us; Houlsby et al. 2019, arXiv:1902.00751, find little difference'
    ' between sizes', 'ordering', 'M', '',
    rules.all_of(*(improves(method) for method in ('adapters', 'prefix', 'LoRA'))),
    sizes=JUDGED,
  ),
  Claim(
    'much data', 'On much data nothing is better than full fine-tuning.',
    f'{BIDERMAN}, of LoRA on code; of the others expected by us', 'ordering', 'M',
    'means over seeds, against each of the others',
    rules.all_of(*(rules.better(FULL, than=row, metric=CODE) for row in OTHERS)),
    sizes=JUDGED,
  ),
  Claim(
    'little data', 'On 100 rows a method that trains few is as good, or better.',
    'Li and Liang 2021, arXiv:2101.00190, abstract, of prefixes', 'ordering', 'M',
    'means over seeds, the best of all of them at most the loss of full tuning',
    best_of_few, sizes=('quick',),
  ),
  Claim(
    'forgetting', 'Full fine-tuning forgets more than LoRA of any rank.', BIDERMAN,
    'ordering', 'V', 'mean rise of the loss on docstrings over seeds',
    full_forgets_more, sizes=JUDGED,
  ),
  Claim(
    'intruders', 'LoRA of low rank has more intruder dimensions than full tuning.',
    SHUTTLEWORTH, 'mechanism', 'V',
    'means over seeds, ranks 1 and 4, all matrices together',
    rules.all_of(
      *(
        rules.better(row, than=FULL, by=1, metric=intruders, higher=True)
        for row in ('LoRA r=1', 'LoRA r=4')
      )
    ), sizes=JUDGED,
  ),
)  # fmt: skip
FIGURES = (
  Figure(
    'much', 'All of the code: loss by what trains', draw=draw_losses(''),
    sizes=JUDGED,
  ),
  Figure(
    'few', '100 rows of code: loss by what trains', draw=draw_losses(FEW),
    sizes=('quick',),
  ),
  Figure(
    'trade', 'All of the code: learned and forgotten', draw=draw_trade,
    sizes=JUDGED,
  ),
)  # fmt: skip
PAPER_SIZE = Size(
  'v5p:2x2x1', minutes=1_200, seeds=(3, 4, 5), only_rows=(*rows_of(''), BASE),
  overrides={
    'data.source': 'text', 'data.path': 'adapted/*.txt.gz', 'data.seq_len': 1024,
    'eval.sets': {
      'validation': {
        'split': 'validation', 'source': 'text', 'path': 'adapted/*.txt.gz',
      },
      'docstrings': {
        'split': 'validation', 'source': 'text', 'path': 'corpus/*.txt.gz',
      },
    },
    'tokenizer.name': 'gpt2', 'train.batch_size': 64, 'train.steps': 3_000,
    'model.num_layers': 12, 'model.d_model': 768, 'model.num_heads': 12,
    'model.dtype': 'bfloat16', 'model.remat': 'auto', 'model.scan_layers': False,
    'parallel.mesh.fsdp': -1, 'schedule.warmup_steps': 100,
    'eval.max_batches': 64,
  },
  rows={
    BASE: {
      'data.path': 'corpus/*.txt.gz', 'data.source': 'text',
      'train.steps': 20_000, 'train.batch_size': 256,
      'optimizer.learning_rate': 6e-4, 'schedule.warmup_steps': 700,
    },
    **{
      row: {'optimizer.learning_rate': rate}
      for method, rate in PAPER_RATES.items()
      for row in METHODS[method]
    },
  },
)  # fmt: skip


def get_experiment():
  rates = tried('') | tried(FEW)
  return Experiment(
    base='base', compare_to=FULL,
    rows={**rows_of(''), **rows_of(FEW), BASE: {'data.source': 'python_docs'}, **rates},
    overrides={
      'data.source': 'python_source',
      'eval.sets': {
        'validation': {'split': 'validation', 'source': 'python_source'},
        'docstrings': {'split': 'validation', 'source': 'python_docs'},
      },
      'eval.every_steps': 0, 'checkpoint.every_steps': 0,
    },
    columns={'trained': trained, 'docstrings': OLD, 'intruders': intruders},
    claims=CLAIMS, figures=FIGURES,
    sizes={
      'quick': Size(
        'two CPU cores', minutes=8, seeds=(3, 4, 5), overrides=SMALL,
        rows={BASE: PRETRAINING}, only_rows=(*rows_of(''), *rows_of(FEW), BASE),
      ),
      'rates': Size(
        'two CPU cores', minutes=4, seeds=(0,), overrides=SMALL,
        rows={BASE: PRETRAINING}, only_rows=(BASE, *rates),
      ),
      'paper': PAPER_SIZE,
    },
  )  # fmt: skip
