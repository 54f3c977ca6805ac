"""Does a post-norm Transformer need warm-up where a pre-norm one does not?

Xiong et al. 2020 (arXiv:2002.04745) put the layer norm after each residual sum (post)
or before each branch (pre). With Adam and no warm-up the post-norm model stays at BLEU
8.45 on IWSLT14 German-English, against about 34 with warm-up (section 3.2); the
pre-norm model does not care. Their explanation: at initialization the gradients of the
last layers are large with post-norm, and smaller by sqrt(layers) with pre-norm.

Here: 8 layers of width 64 on the bytes of Python's documentation, Adam at a constant
3e-3, no clipping and no decay, so that nothing else tames the first steps; 400 steps of
16 x 64 tokens. Fan-in stands for their Xavier initialization, which is not available.
The rows `at init` take one step, for the first gradient. The paper size is a decoder of
their shape (6 layers of width 512, from memory) that translates the same sentences.

What would change our mind: post-norm without warm-up within 0.5 nats of the others, or
gradients of the top layer that are less than twice as large.

  gpt-jax sweep experiments/pre_post_norm.py
"""

from gpt_jax.analysis import rules
from gpt_jax.analysis.references import ngram
from gpt_jax.sweeps import Claim, Experiment, Figure, Line, Size
from gpt_jax.sweeps.algebra import chain, product, rows, vary

XIONG = 'Xiong et al. 2020, arXiv:2002.04745'
WARMUP, RATE = 'schedule.warmup_steps', 'optimizer.learning_rate'
RATES = (5e-4, 1e-3)  # theirs


def top_gradient(result):
  """Returns the norm of the first gradient in the MLP of the last layer."""
  last = result.point.config.model.num_layers - 1
  return float(result.curve(f'grad/layers_{last}/block_0/mlp/down/kernel')[1][0])


def at_init(norm):
  once = {'train.steps': 1, 'eval.max_batches': 1, 'logging.layer_norms_every_steps': 1}
  return {'model.norm_position': norm} | once


def sweep(*settings):
  return chain(
    product(rows('pre', 'post'), *settings),
    product(rows('pre at init', 'post at init'), vary(WARMUP, 0)),
  )


def needs_warmup(setting):
  bare = {'row': 'post'} | setting | {WARMUP: 0}
  return rules.all_of(
    rules.better(bare | {'row': 'pre'}, than=bare, by=0.5),
    rules.better(bare | setting, than=bare, by=0.5),
  )


def get_experiment():
  return Experiment(
    base='base',
    overrides={
      'data.source': 'python_docs', 'data.seq_len': 64, 'train.batch_size': 16,
      'model.num_layers': 8, 'model.d_model': 64, 'model.scan_layers': False,
      'model.init': 'fan_in', RATE: 3e-3, 'optimizer.b2': 0.98, 'train.steps': 400,
      'optimizer.clip_norm': 0.0, 'optimizer.weight_decay': 0.0, 'eval.max_batches': 32,
      'schedule.name': 'constant', 'eval.every_steps': 100, 'checkpoint.every_steps': 0,
    },
    rows={
      'pre': {'model.norm_position': 'pre'}, 'post': {'model.norm_position': 'post'},
      'pre at init': at_init('pre'), 'post at init': at_init('post'),
    },
    compare_to='post',
    claims=(
      Claim(
        'post needs warm-up', 'Without warm-up post-norm ends above pre-norm without'
        ' and above post-norm with it.',
        f'{XIONG}, section 3.2', 'mechanism', 'V',
        'each difference of means over 3 seeds above 0.5 nats',
        needs_warmup({WARMUP: 200}), sizes=('quick',),
      ),
      Claim(
        'gradients at init', 'At the start post-norm has larger gradients at the top.',
        f'{XIONG}, theorem 1', 'mechanism', 'M',
        'ratio of means over 3 seeds of the norm of the last MLP kernel, above 2: one'
        ' run of ours before, with Xavier initialization, had 2.6',
        rules.ratio('post at init', 'pre at init', at_least=2.0, metric=top_gradient),
        version=2,  # the gradient of version 1, for any number of layers
      ),
      Claim(
        'both rates', 'At both rates post-norm needs 4000 steps of warm-up.',
        f'{XIONG}, section 3.2', 'mechanism', 'V',
        'each difference of means over 3 seeds above 0.5 nats', sizes=('paper',),
        rule=rules.all_of(*(needs_warmup({RATE: x, WARMUP: 4000}) for x in RATES)),
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
        'two CPU cores', minutes=5, seeds=(3, 4, 5), sweep=sweep(vary(WARMUP, 0, 200))
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=120, seeds=(3, 4, 5),
        sweep=sweep(vary(RATE, *RATES), vary(WARMUP, 0, 500, 4000)),
        overrides={
          'data.source': 'jsonl', 'data.path': 'iwslt14/*.jsonl.gz',
          'data.prompt_field': 'de', 'data.response_field': 'en',
          'tokenizer.name': 'bpe', 'tokenizer.vocab_size': 10_000,
          'data.packing': 'first_fit', 'data.seq_len': 256, 'train.batch_size': 32,
          'model.num_layers': 6, 'model.d_model': 512, 'model.num_heads': 8,
          'objective.label_smoothing': 0.1, 'schedule.name': 'linear',
          'train.steps': 30_000, 'eval.every_steps': 1000,
        },
      ),
    },
  )  # fmt: skip
