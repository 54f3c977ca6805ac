"""Can a model be cut off after any layer, and what does that cost the whole one?

LayerSkip (Elhoushi et al. 2024, arXiv:2404.16710): losses at early exits, read by the
model's own last norm and output layer, and whole layers dropped at random, later ones
more often, make the first layers a model of their own; the full model loses little.

Here: 6 layers of width 48 read the source code of Python's library as bytes. `last` is
layer_skip with losses at no exit and nothing dropped, which is causal_lm; `exits` adds
the losses, `LayerSkip` the layer dropout. What is scored are all six depths of one
model, so the curve over layers is what `inference.depth` gives.

What would change our mind: a depth of 1 to 5 at which `exits` is no better than `last`,
or a full model that is 0.05 nats worse.

At paper size the paper's model of 1.5 billion parameters, from memory: trained from
scratch on 26 billion tokens.

  gpt-jax sweep experiments/exit_losses.py
"""

from gpt_jax.analysis import rules
from gpt_jax.plots import over_metrics
from gpt_jax.sweeps import Claim, Experiment, Figure, Size

PAPER = 'Elhoushi et al. 2024, arXiv:2404.16710'
LAYERS = 6
LOSS = {n: f'validation/loss_at_layer_{n}' for n in range(1, LAYERS)} | {
  LAYERS: 'validation/loss'
}
SCALE, DROPOUT = 'objective.options.exit_scale', 'objective.options.layer_dropout'


def mean_of_exits(result):
  """Returns the mean loss of all depths but the whole."""
  return sum(result.value(LOSS[n]) for n in range(1, LAYERS)) / (LAYERS - 1)


def get_experiment():
  return Experiment(
    base='base',
    overrides={'objective.name': 'layer_skip'},
    rows={
      'last': {SCALE: 0.0, DROPOUT: 0.0},
      'exits': {SCALE: 0.2, DROPOUT: 0.0},
      'LayerSkip': {SCALE: 0.2, DROPOUT: 0.1},
    },
    columns={f'{n} layers': LOSS[n] for n in LOSS} | {'mean of exits': mean_of_exits},
    claims=(
      Claim(
        'shallower', 'Losses at exits make every depth a better model.',
        f'{PAPER}, section 6', 'ordering', 'M',
        'means over seeds at each of 1 to 5 layers, below those without',
        rules.all_of(
          *(rules.better('exits', than='last', metric=LOSS[n]) for n in (1, 2, 3, 4, 5))
        ), sizes=('quick',),
      ),
      Claim(
        'whole', 'The full model loses little by them.', f'{PAPER}, section 6',
        'ordering', 'V', 'mean over seeds at most 0.05 nats above that without',
        rules.better('exits', than='last', by=-0.05), sizes=('quick',),
      ),
      Claim(
        'dropout', 'Layer dropout makes exits better still.', f'{PAPER}, section 4.1.1',
        'ordering', 'V', 'mean over seeds of the mean loss of 1 to 5 layers',
        rules.better('LayerSkip', than='exits', metric=mean_of_exits),
        sizes=('quick',),
      ),
    ),
    figures=(
      Figure(
        'layers', 'Loss of the first layers of one model',
        draw=over_metrics.of(LOSS, x_label='layers used', y_label='nats a byte'),
      ),
      Figure('loss', 'Loss of the whole model', y_label='nats a byte'),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=8, seeds=(3, 4),
        overrides={
          'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
          'train.steps': 500, 'model.num_layers': LAYERS, 'model.d_model': 48,
          'model.num_heads': 3, 'model.position': 'rope', 'model.norm': 'rmsnorm',
          'model.bias': False, 'model.scan_layers': False,
          'optimizer.learning_rate': 5e-3, 'schedule.warmup_steps': 50,
          'objective.options.interval': 3, 'objective.options.eval_exits': LAYERS,
          'eval.every_steps': 250, 'eval.max_batches': 20, 'eval.batch_size': 16,
          'checkpoint.every_steps': 0,
        },
      ),
      'paper': Size(
        'v5p:2x2x4', minutes=1_200, seeds=(0,),
        overrides={
          'data.source': 'text', 'data.path': 'corpus/*.txt.gz', 'data.seq_len': 4096,
          'tokenizer.name': 'sentencepiece', 'tokenizer.path': 'llama.model',
          'model.vocab_size': 32_000,
          'train.batch_size': 128, 'train.steps': 50_000, 'model.num_layers': 24,
          'model.d_model': 2048, 'model.num_heads': 16, 'model.activation': 'swiglu',
          'model.norm': 'rmsnorm', 'model.bias': False, 'model.position': 'rope',
          'model.init': 'fan_in', 'model.tie_embeddings': False,
          'model.dtype': 'bfloat16', 'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
          'optimizer.learning_rate': 4e-4, 'schedule.warmup_steps': 5_000,
          'objective.options.interval': 23, 'objective.options.eval_exits': 24,
          'eval.every_steps': 5_000, 'eval.max_batches': 20,
        },
      ),
    },
  )  # fmt: skip
