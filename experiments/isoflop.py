"""How should compute be split between parameters and tokens?

Hoffmann et al. 2022 (Chinchilla, arXiv:2203.15556) train models of several sizes with
equal FLOPs, each to the end of its own schedule: losses over ln N are a parabola, and
its minimum N_opt grows as C^a with a near 0.5 (section 3.2 and table 2: 0.49, interval
0.462 to 0.534; Kaplan et al. 2020 had found 0.73). Their third approach fits L = E +
A / N^alpha + B / D^beta to all runs. Here the text is bytes of Python's own library,
of which no run reads any twice (that bounds the budgets), N counts all parameters, and
the peak rate is 0.4 / width.

Version 2: in version 1 (seed 3, all three claims reproduced) the smallest model of the
largest budget had a width of 32 and read the text 1.15 times. The rules are the same;
seed 4 was not looked at. One seed a point, as theirs: a parabola goes through four.

What would change our mind: a parabola that bends down or has its minimum at an end, an
a outside 0.3 to 0.7, or a fit to the smaller budgets that misses the largest one.

At paper size the paper's nine budgets (figure 3), each with five shapes of its table A9
around the optimum. From memory: rows of 2048, 32,000 pieces, rates of 2e-4 falling by
10, batches of Gopher's small models. RoPE stands for its relative positions, text of
one's own for MassiveText.

  gpt-jax sweep experiments/isoflop.py
"""

from gpt_jax.analysis import isoflop
from gpt_jax.plots import isoflop as isoflop_figure
from gpt_jax.sweeps import Claim, Experiment, Figure, Size

HOFFMANN = 'Hoffmann et al. 2022, arXiv:2203.15556, section 3 and table 2'
TRAIN_BYTES = 10.6e6  # of python_source's training split, of Python 3.11
QUICK = {3e11: (16, 24, 40, 64), 1e12: (24, 32, 56, 96), 3e12: (40, 56, 80, 128)}
# (layers, width, heads) of table A9, from nanoGPT's scaling_laws.ipynb; 0.1 to 9 B.
SHAPES = (
  (12, 768, 12), (18, 768, 12), (18, 896, 14), (20, 1024, 16), (21, 1280, 10),
  (22, 1536, 12), (20, 1792, 14), (28, 2048, 16), (32, 2304, 18), (34, 2560, 20),
  (36, 3072, 24), (40, 3584, 28), (42, 4096, 32),
)  # fmt: skip
BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)


def setting(budget, shape, rate, vocabulary, seq_len, batch_size):
  """Returns the overrides of a model that trains for `budget` FLOPs."""
  layers, width, heads = shape
  steps = isoflop.steps(budget, layers, width, vocabulary, seq_len, batch_size)
  return {
    'row': f'{budget:.0e}', 'model.num_layers': layers, 'model.d_model': width,
    'model.num_heads': heads, 'train.steps': steps,
    'schedule.warmup_steps': max(20, steps // 50), 'optimizer.learning_rate': rate,
  }  # fmt: skip


def quick(seq_len=64, batch_size=16):
  found = tuple(
    # 257: bytes, and the end of a text.
    setting(budget, (2, width, 4), round(0.4 / width, 6), 257, seq_len, batch_size)
    for budget, widths in QUICK.items()
    for width in widths
  )
  assert max(one['train.steps'] for one in found) * seq_len * batch_size < TRAIN_BYTES
  return found


def paper():
  return tuple(
    setting(budget, shape, 2e-4, 32_000, 2048, 128)
    for i, budget in enumerate(BUDGETS)
    for shape in SHAPES[i : i + 5]
  )


def get_experiment():
  return Experiment(
    base='base',
    rows={f'{budget:.0e}': {} for budget in (*QUICK, *BUDGETS)},
    overrides={
      'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
      'model.init': 'fan_in', 'checkpoint.every_steps': 0,
    },
    columns={'loss': 'validation/loss', 'tokens': 'tokens'},
    claims=(
      Claim(
        'minima', 'At each budget a size between the smallest and the largest is best.',
        HOFFMANN, 'ordering', 'T', version=2, rule=isoflop.have_minima(),
      ),
      Claim(
        'exponent', 'Parameters and tokens grow alike: N_opt ~ C^a, a in 0.3 to 0.7.',
        HOFFMANN, 'mechanism', 'T', version=2, rule=isoflop.exponent_between(0.3, 0.7),
      ),
      Claim(
        'fit', 'L(N, D) fitted to the smaller budgets predicts the largest one to 3 %.',
        HOFFMANN, 'mechanism', 'T', version=2,
        rule=isoflop.largest_is_predicted(within=0.03),
      ),
    ),
    figures=(Figure('isoflop', 'Loss at equal FLOPs', draw=isoflop_figure.draw),),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=8, seeds=(4,), sweep=quick(),
        only_rows=tuple(f'{budget:.0e}' for budget in QUICK),
        overrides={
          'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
          'model.scan_layers': False, 'eval.every_steps': 0, 'eval.max_batches': 64,
          'eval.batch_size': 64, 'logging.every_steps': 100,
        },
      ),
      'paper': Size(
        'v5p:4x4x4', minutes=4e4, seeds=(0,), sweep=paper(),
        only_rows=tuple(f'{budget:.0e}' for budget in BUDGETS),
        overrides={
          'data.source': 'text', 'data.path': 'corpus/*.txt.gz', 'data.seq_len': 2048,
          'tokenizer.name': 'sentencepiece', 'tokenizer.path': 'corpus.model',
          'model.vocab_size': 32_000, 'model.dtype': 'bfloat16', 'model.remat': 'full',
          'train.batch_size': 128, 'parallel.mesh': {'data': 1, 'fsdp': -1},
        },
      ),
    },
  )  # fmt: skip
