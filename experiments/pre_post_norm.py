"""Does a post-norm Transformer need warm-up where a pre-norm one does not?

Xiong et al. 2020 (arXiv:2002.04745) put the layer norm after each residual sum (post)
or before each branch (pre). With Adam and no warm-up the post-norm model stays at BLEU
8.45 on IWSLT14 German-English, against about 34 with warm-up (section 3.2); the
pre-norm model does not care. Their explanation: at initialization the gradients of the
last layers are large with post-norm, and smaller by sqrt(layers) with pre-norm.

Here: 8 layers of width 64 on the bytes of Python's documentation, fan-in
initialization, Adam at a constant 3e-3, no clipping and no decay, so that nothing else
tames the first steps; 400 steps of 16 x 64 tokens. The rows `at init` take one step to
have the gradients of the first batch by layer.

What would change our mind: post-norm without warm-up within 0.5 nats of the others, or
gradients of the top layer that are less than twice as large.

  gpt-jax sweep experiments/pre_post_norm.py
"""

from gpt_jax.analysis import rules
from gpt_jax.analysis.references import ngram
from gpt_jax.sweeps import (
  Claim,
  Experiment,
  Figure,
  Line,
  Size,
  chain,
  product,
  rows,
  vary,
)

XIONG = 'Xiong et al. 2020, arXiv:2002.04745'
WARMUP = 'schedule.warmup_steps'


def gradient(layer):
  """Returns a function of a result: the first gradient's norm in a layer's MLP."""

  def norm(result):
    return float(result.curve(f'grad/layers_{layer}/block_0/mlp/down/kernel')[1][0])

  norm.__name__ = f'gradient of layer {layer}'
  return norm


def at_init(norm, **overrides):
  return {
    'model.norm_position': norm, 'train.steps': 1, 'eval.max_batches': 1,
    'logging.layer_norms_every_steps': 1, **overrides,
  }  # fmt: skip


def sweep(warmup):
  return chain(
    product(rows('pre', 'post'), vary(WARMUP, 0, warmup)),
    product(rows('pre at init', 'post at init'), vary(WARMUP, 0)),
  )


def needs_warmup(warmup):
  bare = {'row': 'post', WARMUP: 0}
  return rules.all_of(
    rules.better({'row': 'pre', WARMUP: 0}, than=bare, by=0.5),
    rules.better({'row': 'post', WARMUP: warmup}, than=bare, by=0.5),
  )


def get_experiment():
  return Experiment(
    base='base',
    overrides={
      'data.source': 'python_docs', 'data.seq_len': 64, 'train.batch_size': 16,
      'model.num_layers': 8, 'model.d_model': 64, 'model.scan_layers': False,
      'model.init': 'fan_in', 'optimizer.learning_rate': 3e-3, 'optimizer.b2': 0.98,
      'optimizer.clip_norm': 0.0, 'optimizer.weight_decay': 0.0,
      'schedule.name': 'constant', 'train.steps': 400,
      'eval.every_steps': 100, 'eval.max_batches': 32, 'checkpoint.every_steps': 0,
    },
    rows={
      'pre': {'model.norm_position': 'pre'},
      'post': {'model.norm_position': 'post'},
      'pre at init': at_init('pre'),
      'post at init': at_init('post'),
    },
    compare_to='post',
    claims=(
      Claim(
        'post needs warm-up', 'Without warm-up post-norm ends above pre-norm without'
        ' and above post-norm with it.',
        f'{XIONG}, section 3.2', 'mechanism', 'V',
        'each difference of means over 3 seeds above 0.5 nats',
        needs_warmup(200), sizes=('quick',),
      ),
      Claim(
        'gradients at init', 'At initialization the top layer has larger gradients with'
        ' post-norm.',
        f'{XIONG}, theorem 1', 'mechanism', 'V',
        'ratio of means over 3 seeds of the norm of the last MLP kernel, above 2',
        rules.ratio('post at init', 'pre at init', at_least=2.0, metric=gradient(7)),
        sizes=('quick',),
      ),
    ),
    figures=(
      Figure(
        'loss', 'Norm position and warm-up', y='train/loss', panels=WARMUP,
        select=lambda results: results.only(lambda point: 'init' not in point.row),
        lines=(Line('1-gram', ngram(1), 'counts of the same text'),),
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=5, seeds=(3, 4, 5), sweep=sweep(200)
      ),
      'paper': Size('v5p:2x2x1', minutes=60, sweep=sweep(4000)),
    },
  )  # fmt: skip
