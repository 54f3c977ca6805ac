"""Which rank does LoRA need, in which matrices, and what does it leave to full tuning?

Hu et al. 2021 (LoRA, arXiv:2106.09685) adapt GPT-3 175B: updates of rank 1 to 4 in the
queries and values do as well as rank 64 (table 6), and at equal numbers of parameters
several kinds of matrices are better than one (table 5: queries alone 70.4, queries and
values 73.7 on WikiSQL, 18 million parameters both).

Here: 2 layers of width 64 read the docstrings of Python's library as bytes, and are
then adapted to its source code. `gap closed` is how far a row has come from the
pretrained model to full fine-tuning, in held-out loss. Rank 64 is the width: no matrix
has more.

Rates are the best that seed 0 had (`--size=rates`): for full fine-tuning of 1e-3, 3e-3
and 1e-2; for LoRA of 3e-3 (all linear maps alone), 1e-2 and 3e-2, at rank 8. One rate
for all ranks asks for the paper's scale alpha / r: with it 1e-2 was the best of the
three at ranks 1, 8 and 64. With alpha / sqrt(r) (rsLoRA, arXiv:2312.03732), equal to it
at rank 8, 1e-2 was better at rank 64 (95 % of the gap instead of 85 %), and 3e-2, the
best at rank 1, ruined it. What is found of high ranks here is thus of that scale.

What would change our mind: less than half of the gap closed by rank 4, 10 points or
more from rank 8 to 16, or queries alone as good as queries and values.

At paper size a model of the shape of GPT-2 124M, pretrained and adapted on texts of
your own; rates are from memory. GPT-3 cannot be read here.

  gpt-jax sweep experiments/lora_rank.py
"""

from gpt_jax.plots import palette
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size, costs

PAPER = 'Hu et al. 2021, arXiv:2106.09685'
TARGETS = {'q': 'query', 'qv': 'query|value', 'qkvo': 'attention/', 'all linear': ''}
RANKS = (1, 2, 4, 8, 16, 64)
FULL, BASE = 'full fine-tuning', 'pretrained'
STABILIZED = 'rank-stabilized'
FULL_RATE = 3e-3
RATES = {'q': 3e-2, 'qv': 3e-2, 'qkvo': 1e-2, 'all linear': 1e-2}
JUDGED = ('quick', 'paper')


def row_of(targets, rank):
  return f'{targets}, r={rank}'


def lora(targets, rank, **options):
  chosen = {'rank': rank, 'targets': TARGETS[targets], **options}
  return {'init_from': FromRow(BASE), 'peft.name': 'lora'} | {
    f'peft.options.{name}': value for name, value in chosen.items()
  }


def at_rates(rows, *rates):
  return {
    f'{name}, rate {rate:g}': {**row, 'optimizer.learning_rate': rate}
    for name, row in rows.items()
    for rate in rates
  }


def gap_closed(results, row):
  """Returns how far `row` has come from the pretrained model to full tuning, in %.

  Of mean losses over seeds.
  """
  base, full, own = (
    results.where(row=one).mean('validation/loss') for one in (BASE, FULL, row)
  )
  return 100 * (base - own) / (base - full)


def half_is_closed(results):
  """Checks the gap that rank 4 in all linear maps closes."""
  closed = gap_closed(results, row_of('all linear', 4))
  return Outcome(closed >= 50, {'gap closed, %': closed})


def gains_little(results):
  """Checks what doubling rank 8 in all linear maps adds."""
  closed = {r: gap_closed(results, row_of('all linear', r)) for r in (8, 16)}
  numbers = {f'gap closed by r={r}, %': value for r, value in closed.items()}
  return Outcome(closed[16] - closed[8] < 10, numbers)


def two_kinds_are_better(results):
  """Checks queries and values against queries of twice the rank, at four sizes."""
  numbers, holds = {}, True
  for rank in (1, 2, 4, 8):
    one, two = (
      results.where(row=row_of(*chosen)).mean('validation/loss')
      for chosen in (('q', 2 * rank), ('qv', rank))
    )
    numbers |= {f'q, r={2 * rank}': one, f'qv, r={rank}': two}
    holds = holds and two < one
  return Outcome(holds, numbers)


def trained(result):
  """Returns how many parameters train."""
  return costs.trained_parameters(costs.read_config(result.point.workdir))


def draw_gaps(axes, results):
  """Draws the gap that each rank closes, a line for each choice of matrices."""
  for i, targets in enumerate(TARGETS):
    closed = [gap_closed(results, row_of(targets, rank)) for rank in RANKS]
    color, style, marker = palette.of_number(i)
    axes.plot(RANKS, closed, color=color, linestyle=style, marker=marker, label=targets)
  axes.axhline(100, color=palette.REFERENCE, linestyle=':', label=FULL)
  axes.set_xscale('log', base=2)
  axes.set_xticks(RANKS, map(str, RANKS))
  axes.set(xlabel='rank', ylabel='gap closed, %')
  axes.legend()


draw_gaps.caption = 'Of mean losses over seeds: 0 is the pretrained model.'


ROWS = {row_of(t, r): lora(t, r) for t in TARGETS for r in RANKS}
SMALL = {
  'data.seq_len': 64, 'train.batch_size': 16, 'train.steps': 150,
  'model.num_layers': 2, 'model.d_model': 64, 'model.num_heads': 4,
  'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
  'model.scan_layers': False, 'optimizer.learning_rate': 5e-3,
  'schedule.warmup_steps': 20, 'eval.max_batches': 40,
}  # fmt: skip
CLAIMS = (
  Claim(
    'rank 4', 'Rank 4 in all linear maps closes at least half of the gap.',
    f'{PAPER}, table 6, where it closes all of it', 'ordering', 'T',
    'mean losses over seeds, at least 50 %', half_is_closed, sizes=JUDGED,
  ),
  Claim(
    'saturation', 'From rank 8 to 16 it rises by less than 10 points.',
    f'{PAPER}, table 6', 'ordering', 'T',
    'mean losses over seeds, less than 10 points', gains_little, sizes=JUDGED,
  ),
  Claim(
    'two kinds', 'Queries and values are better than queries alone with as many'
    ' parameters.', f'{PAPER}, table 5', 'ordering', 'T',
    'means over seeds, at each of four sizes', two_kinds_are_better, sizes=JUDGED,
  ),
)  # fmt: skip
PAPER_SIZE = Size(
  'v5p:2x2x1', minutes=2_000, seeds=(3, 4, 5), only_rows=(FULL, *ROWS, BASE),
  overrides={
    'data.source': 'text', 'data.path': 'adapted/*.txt.gz', 'data.seq_len': 1024,
    'eval.sets': {
      'validation': {'split': 'validation', 'path': 'adapted/*.txt.gz'}
    },
    'tokenizer.name': 'gpt2', 'train.batch_size': 64, 'train.steps': 3_000,
    'model.num_layers': 12, 'model.d_model': 768, 'model.num_heads': 12,
    'model.dtype': 'bfloat16', 'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
    'optimizer.learning_rate': 5e-4, 'schedule.warmup_steps': 100,
    'eval.every_steps': 500, 'eval.max_batches': 64,
  },
  rows={
    BASE: {
      'data.source': 'text', 'data.path': 'corpus/*.txt.gz',
      'train.steps': 20_000, 'train.batch_size': 256,
      'optimizer.learning_rate': 6e-4, 'schedule.warmup_steps': 700,
    },
    FULL: {'optimizer.learning_rate': 1e-4},
  },
)  # fmt: skip


def get_experiment():
  full = {FULL: {'init_from': FromRow(BASE)}}
  scales = {row_of('all linear', r): lora('all linear', r) for r in (1, 8, 64)} | {
    f'{STABILIZED}, r={r}': lora(
      'all linear', r, alpha=16 / 8**0.5, rank_stabilized=True
    )
    for r in (1, 64)
  }
  tried = at_rates(scales, 3e-3, 1e-2, 3e-2) | at_rates(full, 1e-3, 3e-3, 1e-2)
  tried |= at_rates({row_of(t, 8): lora(t, 8) for t in list(TARGETS)[:3]}, 1e-2, 3e-2)
  rates = {
    row_of(t, r): {'optimizer.learning_rate': RATES[t]} for t in TARGETS for r in RANKS
  }
  judged = (FULL, *ROWS, BASE)
  return Experiment(
    base='base', compare_to=FULL,
    rows={FULL: full[FULL], **ROWS, BASE: {'data.source': 'python_docs'}, **tried},
    overrides={
      'data.source': 'python_source',
      'eval.sets': {'validation': {'split': 'validation', 'source': 'python_source'}},
      'eval.every_steps': 0, 'checkpoint.every_steps': 0,
    },
    columns={'trained': trained},
    claims=CLAIMS,
    figures=(
      Figure(
        'gaps', 'How far each rank comes, by the matrices that it is in',
        draw=draw_gaps, sizes=JUDGED,
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=8, seeds=(3, 4, 5), only_rows=judged, overrides=SMALL,
        rows={
          BASE: {'train.steps': 500}, FULL: {'optimizer.learning_rate': FULL_RATE},
          **rates,
        },
      ),
      'rates': Size(
        'two CPU cores', minutes=4, seeds=(0,), only_rows=(BASE, *tried),
        overrides=SMALL, rows={BASE: {'train.steps': 500}},
      ),
      'paper': PAPER_SIZE,
    },
  )  # fmt: skip
