"""Do two attention layers, and not one, learn to copy by matching prefixes?

Induction heads (Olsson et al. 2022) attend from a token to the one that followed its
earlier occurrence; they need a second layer, which reads what a head of the first has
noted about the token before. Attention-only models with one and two layers learn
documents that tile a random segment of random length (8 to 32 tokens of 32 symbols):
what repeats can be predicted by induction alone, since no position says the period. The
loss is on all tokens; the set `repeats` scores those after the first period.

What would change our mind: one layer below 2 nats on repeats, two layers above 0.5, or
two layers that get there without a head that matches prefixes.

Design and thresholds come from runs of ours with other seeds. The paper size has the
paper's shape (width 768, 12 heads, 10 billion tokens in rows of 8192; from memory) and
measure, on text: how much less token 500 costs than token 50.

  gpt-jax sweep experiments/induction_heads.py
"""

import math

from gpt_jax.analysis import rules
from gpt_jax.analysis.references import true_model
from gpt_jax.plots import heat_map
from gpt_jax.sweeps import Claim, Experiment, Figure, Line, Size

OLSSON = 'Olsson et al., arXiv:2209.11895, arguments 1 and 4'
REPEATS = 'repeats/loss'
ON_REPEATS = {'loss_on': 'repeats'}
ICL = 'validation/icl_score'


def best_of_layer_2(result):
  """Returns the highest prefix-matching score of a head in the second layer."""
  heads = [f'layer_1/head_{i}' for i in range(result.point.config.model.num_heads)]
  return max(result.value(f'statistics/prefix_matching/{head}') for head in heads)


def get_experiment():
  return Experiment(
    base='markov',
    rows={'one layer': {'model.num_layers': 1}, 'two layers': {'model.num_layers': 2}},
    overrides={
      'model.block': 'attention_only', 'model.position': 'rope',
      'model.init': 'fan_in', 'model.tie_embeddings': False,
      'logging.statistics': ('prefix_matching',),
      'logging.statistics_every_steps': 200,
    },
    columns={'best head': 'statistics/prefix_matching'},
    claims=(
      Claim(
        'two layers', 'Two attention layers predict what repeats.', OLSSON,
        'mechanism', 'X', 'mean over 3 seeds after 2000 steps, below 0.5 nats',
        rules.below(0.5, 'two layers', metric=REPEATS), sizes=('quick',),
      ),
      Claim(
        'one layer', 'One attention layer does not.', OLSSON, 'mechanism', 'X',
        'mean over 3 seeds after 2000 steps, above 2 nats (chance: ln 32 = 3.47)',
        rules.above(2.0, 'one layer', metric=REPEATS), sizes=('quick',),
      ),
      Claim(
        'prefix matching', 'A head of the second layer attends to what followed.',
        OLSSON, 'mechanism', 'X',
        'mean over 3 seeds of the best head of layer 2: above 0.5 of its attention',
        rules.above(0.5, 'two layers', metric=best_of_layer_2), sizes=('quick',),
        version=2,  # the score of version 1, in fewer lines
      ),
      Claim(
        'in-context learning', 'On text, context helps two layers more.', OLSSON,
        'mechanism', 'M', 'mean over 3 seeds of loss at token 500 minus token 50',
        rules.better('two layers', 'one layer', by=0.1, metric=ICL, higher=False),
        sizes=('paper',),
      ),
    ),
    figures=(
      Figure(
        'repeats', 'Loss on what repeats', y=REPEATS, y_label='nats a token',
        sizes=('quick',),
        lines=(
          Line('chance', math.log(32), 'ln of the vocabulary'),
          Line('the language itself', true_model('repeats'), 'computed on the set'),
        ),
      ),
      Figure(
        'heads', 'Share of attention on what followed the last time',
        draw=heat_map.of_heads('prefix_matching', low=0, high=1), sizes=('quick',),
      ),
      Figure('icl', 'Loss at token 500 minus token 50', y=ICL, sizes=('paper',)),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=4, seeds=(3, 4, 5), columns={'repeats': REPEATS},
        overrides={
          'data.source': 'induction',
          'data.generator.vocab_size': 32, 'data.generator.document_len': 65,
          'data.generator.num_documents': 65_536,
          'data.packing': 'pad', 'data.seq_len': 64,
          'eval.sets.repeats': {'split': 'validation', 'options': ON_REPEATS},
          'eval.every_steps': 200, 'checkpoint.every_steps': 0,
          'model.num_heads': 2,
          'optimizer.learning_rate': 2e-3, 'train.steps': 2000,
        },
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=120, base='gpt2:124m', seeds=(3, 4, 5),
        columns={'in-context': ICL},
        overrides={
          'data.path': 'corpus/*.txt.gz', 'tokenizer.path': 'gpt2_bpe',
          'data.seq_len': 8192, 'train.batch_size': 64, 'train.grad_accum': 1,
          'train.tokens': 10_000_000_000, 'train.steps': None,
          # Rows of 512, so that tokens 50 and 500 are those of the score.
          'eval.sets.validation.seq_len': 512, 'eval.batch_size': 512,
          'eval.metrics': ('loss_by_position',), 'eval.every_steps': 200,
        },
      ),
    },
  )  # fmt: skip
