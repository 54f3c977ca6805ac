"""Does nanoGPT's character-level Shakespeare run reach its published loss?

nanoGPT trains a decoder of 4 layers of width 128 (0.8 M parameters) on the characters
of Tiny Shakespeare for 2000 steps of 12 x 64 tokens and reports a validation loss of
1.88 nats, a mean over 20 random batches (noise about 0.02). Ours is that model on those
tokens: `configs/shakespeare_char.py` has each setting. It is scored on the whole of
nanoGPT's validation text, the last tenth, in windows of 64. The figure also has what
tables of counts reach: a 5-gram table is better than this model, and takes seconds.

The paper size is nanoGPT's larger run, 10.7 M parameters in bfloat16.

What would change our mind: a mean over three seeds above 1.92, or above 1.49 at the
larger size.

The text is TFDS's `tiny_shakespeare`, which has to be prepared once: with
tensorflow-datasets installed, `python -c "import tensorflow_datasets as tfds;
tfds.load('tiny_shakespeare')"`, or copied; TFDS_DATA_DIR is the folder it lies in.
Without it the sweep ends with an error that says so.

  TFDS_DATA_DIR=... gpt-jax sweep experiments/shakespeare_char.py
"""

from gpt_jax.analysis.references import ngram
from gpt_jax.sweeps import Claim, Experiment, Figure, Line, Outcome, Size

NANOGPT = 'nanoGPT, README and config/train_shakespeare_char.py'
LOSS = 'nanogpt_validation/loss'
KNESER_NEY = 'computed on the same tokens: modified Kneser-Ney, Chen & Goodman 1998'


def at_most(limit, metric):
  def rule(results):
    by_seed = results.by_seed(metric)
    mean = sum(by_seed.values()) / len(by_seed)
    return Outcome(mean <= limit, {'mean': mean, 'limit': limit, 'seeds': by_seed})

  return rule


def lowest(result):
  """Returns the lowest loss along a run, as nanoGPT reports the larger one."""
  return float(result.curve(LOSS)[1].min())


def table_is_better(results):
  model, table = results.mean(LOSS), ngram(5, 'nanogpt_validation')(results)
  return Outcome(table < model, {'model': model, '5-gram': table})


def get_experiment():
  return Experiment(
    base='shakespeare_char:cpu',
    metric=LOSS,
    rows={'nanoGPT': {}},
    overrides={'checkpoint.every_steps': 0},
    columns={
      'nanoGPT split': LOSS, 'TFDS split': 'validation/loss', 'best': lowest,
    },
    claims=(
      Claim(
        'published loss', 'The loss on the last tenth of the text comes to 1.88.',
        NANOGPT, 'exact', 'V',
        'mean over 3 seeds, all of the split; at most 1.92: 1.88, the noise of its 20'
        ' batches, 0.02, and the spread of seeds, 0.02',
        at_most(1.92, LOSS), sizes=('quick',),
      ),
      Claim(
        'published loss, large', 'The larger run comes to 1.4697 at its best.',
        NANOGPT, 'exact', 'V',
        'mean over 3 seeds of the lowest loss at an evaluation; at most 1.49: 1.4697'
        ' and the spread of seeds, 0.02 as above',
        at_most(1.49, lowest), sizes=('paper',),
      ),
      Claim(
        '5-gram is better', 'A 5-gram table predicts better than the small model.',
        KNESER_NEY, 'ordering', 'C', 'mean over 3 seeds against one table',
        table_is_better, sizes=('quick',),
      ),
    ),
    figures=(
      Figure(
        'loss', 'Loss on the last tenth of Tiny Shakespeare', y=LOSS,
        y_label='nats a character',
        lines=(
          Line('published', 1.88, NANOGPT),
          Line('published, larger run', 1.4697, NANOGPT),
          Line('5-gram table', ngram(5, 'nanogpt_validation'), KNESER_NEY),
          Line('uniform', ngram(0, 'nanogpt_validation'), 'ln of the vocabulary'),
        ),
      ),
    ),
    sizes={
      'quick': Size('two CPU cores', minutes=5, seeds=(3, 4, 5)),
      'paper': Size(
        'v5p:2x2x1', minutes=12, seeds=(3, 4, 5), base='shakespeare_char:gpu',
        overrides={'model.vocab_size': 65},  # characters: a plan reads no text
      ),
    },
  )  # fmt: skip
