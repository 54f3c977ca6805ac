"""How many bits does a trained model need, and what does an outlier feature change?

Dettmers et al. 2022 (LLM.int8, arXiv:2208.07339), table 1: perplexities on C4 of models
of 125M to 13B. Inputs and weights in 8 bits with one scale a tensor (absmax) go from
25.65 to 87.76 at 125M and from 12.45 to 19.08 at 13B; scales for rows and columns
(vector-wise) from 12.45 to 16.48 at 13B, where features are 20 times as large as
others; multiplying those in full brings it back to 12.45.

Here: 2 layers of width 64 on the source code of Python's library as bytes. Each trained
run is compressed by the methods of `gpt-jax compress`; the columns are the differences
of held-out loss, in nats. Small models have no outlier features, so one is planted: the
norms make one feature 50 times as large and the kernels after them read it 1/50, which
computes the same. `rounded to 4 bits` trains with kernels rounded to int4
(quantization-aware).

What would change our mind: 0.005 nats lost by weights in 8 bits, 0.02 by inputs as
well; an outlier that costs less than 0.1, or that costs 0.02 when it is multiplied in
full.

  gpt-jax sweep experiments/int8_ptq.py
"""

import functools

from gpt_jax.analysis import compression
from gpt_jax.sweeps import Claim, Experiment, Outcome, Size

PAPER = 'Dettmers et al. 2022, arXiv:2208.07339, table 1'
TRAINED, ROUNDED = 'trained', 'rounded to 4 bits'
OUTLIER = 50
INT4 = 'int4:calibration=none'
W8A8 = 'w8a8:smoothing=0'
METHODS = {
  'int8': 'int8', 'one scale a kernel': 'int8:scales=tensor', 'int4': INT4,
  'int4, GPTQ': 'int4', 'nf4': 'nf4', 'inputs in int8': W8A8,
  'decomposed': 'llm_int8',
}  # fmt: skip
PLANTED = {
  'outlier, inputs in int8': W8A8, 'outlier, decomposed': 'llm_int8',
  'outlier, smoothed': 'w8a8', 'outlier, int8': 'int8',
  'outlier, one scale a kernel': 'int8:scales=tensor',
}  # fmt: skip


def difference(result, method, outlier=1.0):
  """Returns by how many nats a method makes the held-out loss of a run larger."""
  return compression.cost(str(result.point.workdir), method, outlier).difference


def mean_difference(results, row, method, outlier=1.0):
  found = [difference(one, method, outlier) for one in results.where(row=row)]
  return sum(found) / len(found)


def costs_less(method, limit, outlier=1.0):
  """Returns the rule that a method costs the trained model less than `limit` nats."""

  def rule(results):
    found = mean_difference(results, TRAINED, method, outlier)
    return Outcome(found < limit, {'difference, nats': found})

  return rule


def outlier_breaks(results):
  """Checks what inputs in int8 cost with an outlier feature."""
  found = mean_difference(results, TRAINED, W8A8, OUTLIER)
  return Outcome(found > 0.1, {'difference, nats': found})


def training_helps(results):
  """Checks what int4 costs a model that was trained rounded, and one that was not."""
  numbers = {row: mean_difference(results, row, INT4) for row in (TRAINED, ROUNDED)}
  return Outcome(numbers[ROUNDED] < min(0.02, numbers[TRAINED]), numbers)


def gptq_helps(results):
  """Checks GPTQ against rounding in 4 bits."""
  numbers = {m: mean_difference(results, TRAINED, m) for m in (INT4, 'int4')}
  return Outcome(numbers['int4'] < numbers[INT4], numbers)


def _columns():
  plain = {
    name: functools.partial(difference, method=method)
    for name, method in METHODS.items()
  }
  return plain | {
    name: functools.partial(difference, method=method, outlier=OUTLIER)
    for name, method in PLANTED.items()
  }


CLAIMS = (
  Claim(
    'weights', 'Weights in 8 bits, a scale for each output, cost nothing.', PAPER,
    'ordering', 'T', 'mean over 3 seeds, less than 0.005 nats',
    costs_less('int8', 0.005),
  ),
  Claim(
    'inputs', 'Inputs in 8 bits as well, a scale for each token, cost little.', PAPER,
    'ordering', 'T', 'mean over 3 seeds, less than 0.02 nats', costs_less(W8A8, 0.02),
  ),
  Claim(
    'outlier', 'One feature that is 50 times as large breaks inputs in 8 bits.', PAPER,
    'ordering', 'T', 'mean over 3 seeds, more than 0.1 nats', outlier_breaks,
  ),
  Claim(
    'decomposition', 'Multiplying it in full brings the loss back.', PAPER, 'ordering',
    'T', 'mean over 3 seeds, less than 0.02 nats',
    costs_less('llm_int8', 0.02, OUTLIER),
  ),
  Claim(
    'smoothing', 'Moving its range into the kernels does, too.',
    'Xiao et al. 2023 (SmoothQuant), arXiv:2211.10438, table 3', 'ordering', 'V',
    'mean over 3 seeds, less than 0.02 nats', costs_less('w8a8', 0.02, OUTLIER),
  ),
  Claim(
    'GPTQ', 'In 4 bits, making up for each error is better than rounding.',
    'Frantar et al. 2022 (GPTQ), arXiv:2210.17323, table 3', 'ordering', 'V',
    'means over 3 seeds', gptq_helps,
  ),
  Claim(
    'trained rounded', 'A model that was trained rounded to 4 bits loses little.',
    'Jacob et al. 2018, arXiv:1712.05877, section 3', 'ordering', 'V',
    'means over 3 seeds: less than 0.02 nats, and less than the other', training_helps,
  ),
)  # fmt: skip


def get_experiment():
  return Experiment(
    base='base', compare_to=TRAINED,
    rows={TRAINED: {}, ROUNDED: {'model.fake_quantization': 'int4'}},
    overrides={
      'data.source': 'python_source', 'eval.every_steps': 0,
      'checkpoint.every_steps': 0,
    },
    columns=_columns(),
    claims=CLAIMS,
    sizes={
      'quick': Size(
        'two CPU cores', minutes=4, seeds=(3, 4, 5),
        overrides={
          'data.seq_len': 64, 'train.batch_size': 16, 'train.steps': 400,
          'model.num_layers': 2, 'model.d_model': 64, 'model.num_heads': 4,
          'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
          'model.activation': 'swiglu', 'model.scan_layers': False,
          'optimizer.learning_rate': 5e-3, 'schedule.warmup_steps': 20,
          'eval.max_batches': 20,
        },
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=2_000, seeds=(0, 1, 2),
        overrides={
          'data.source': 'text', 'data.path': 'corpus/*.txt.gz', 'data.seq_len': 1024,
          'tokenizer.name': 'gpt2', 'train.batch_size': 256, 'train.steps': 20_000,
          'model.num_layers': 12, 'model.d_model': 768, 'model.num_heads': 12,
          'model.activation': 'swiglu', 'model.norm': 'rmsnorm',
          'model.dtype': 'bfloat16', 'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
          'optimizer.learning_rate': 6e-4, 'schedule.warmup_steps': 700,
          'eval.max_batches': 64,
        },
      ),
    },
  )  # fmt: skip
