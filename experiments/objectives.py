"""Which pretraining objective suits a causal language model, and do others carry over?

Wang et al. 2022 (arXiv:2204.05832) pretrain decoders with a causal objective, a prefix
objective (reads a prefix in both directions, predicts the rest) and a masked one
(restores what is hidden); T5's span corruption is added here. Read as causal models the
causal one is best, and a masked model adapted to the causal objective comes to the loss
of causal pretraining with 105 instead of 168 billion causal tokens, 1.6 times less.

Here: 2 layers of width 64 on the bytes of Python's library; only mask and loss differ.
Every pretraining reads the same 600 batches of 16 x 64 tokens, but loss falls on all of
them (causal), half (prefix), 15 % (masked) or about a fifth (span): `targets` says how
many. `X as causal` is what X's parameters score on the causal loss unchanged, and `X to
causal` after 480 more steps, 0.8 of the 600, with the causal objective and a schedule
of their own. Pretraining comes on top: this is no saving in total. Not tried:
fine-tuning on tasks that need the right context, at which others should be ahead.

Paper size: the paper's decoder (4.8 billion parameters, 168 billion tokens) on C4, with
rotary positions, as its relative ones are not available.

What would change our mind: a model of another objective that is better at the causal
loss than the causal one, or one that after adaptation has not reached its loss.

  gpt-jax sweep experiments/objectives.py
"""

from gpt_jax.analysis import rules
from gpt_jax.analysis.references import ngram
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Line, Size

WANG = 'Wang et al. 2022, arXiv:2204.05832'
OTHERS = {'prefix': 'prefix_lm', 'masked': 'masked_lm', 'span': 'span_corruption'}


def pretrained():
  return {
    'causal': {},
    **{row: {'objective.name': name} for row, name in OTHERS.items()},
  }


def as_causal():
  # One step at a rate of nearly nothing: the evaluation after it is that of the source.
  same = {
    'train.steps': 1, 'optimizer.learning_rate': 1e-9,
    'schedule.name': 'constant', 'schedule.warmup_steps': 0,
  }  # fmt: skip
  return {f'{row} as causal': {'init_from': FromRow(row), **same} for row in OTHERS}


def to_causal(steps):
  return {
    f'{row} to causal': {'init_from': FromRow(row), 'train.steps': steps}
    for row in OTHERS
  }


def best_as_causal():
  return rules.all_of(*(rules.better('causal', f'{row} as causal') for row in OTHERS))


def on_causal_loss(results):
  return results.only(lambda point: point.row == 'causal' or ' to ' in point.row)


def get_experiment():
  adapted = to_causal(480)
  return Experiment(
    base='base',
    rows={**pretrained(), **as_causal(), **adapted},
    overrides={
      'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
      'model.num_layers': 2, 'model.d_model': 64, 'model.scan_layers': False,
      # Room for [MASK] and the sentinels in all of them, so that the shapes agree.
      'model.pad_vocab_to_multiple_of': 64,
      'optimizer.learning_rate': 4e-3, 'schedule.warmup_steps': 20,
      'train.steps': 600, 'eval.every_steps': 60, 'eval.max_batches': 64,
      'checkpoint.every_steps': 0,
    },
    columns={'targets': 'train/targets'},
    claims=(
      Claim(
        'causal is best', 'Unchanged, no other is as good at the causal loss.',
        f'{WANG}, section 4', 'ordering', 'V', 'means over seeds', best_as_causal(),
      ),
      Claim(
        'masked carries over', 'A masked model comes to the loss of causal pretraining'
        ' in fewer steps (0.8 of them here, 0.63 at paper size).',
        f'{WANG}, section 5', 'ordering', 'V', 'means over seeds of the final loss',
        rules.better('masked to causal', than='causal'),
      ),
    ),
    figures=(
      Figure(
        'adaptation', 'The causal loss of causal training and of adaptation',
        y_label='nats a token', select=on_causal_loss,
        lines=(Line('5-gram table', ngram(5, row='causal'), 'counts, same tokens'),),
      ),
    ),
    sizes={
      'quick': Size('two CPU cores', minutes=5, seeds=(3, 4, 5)),
      'paper': Size(
        'v5p:8x8x8', minutes=2e4, seeds=(0,),
        overrides={
          'data.source': 'text', 'data.path': 'c4/*.txt.gz', 'data.seq_len': 626,
          'tokenizer.name': 'sentencepiece', 'tokenizer.path': 't5.model',
          'model.vocab_size': 32_128, 'model.num_layers': 24, 'model.d_model': 4096,
          'model.num_heads': 64, 'model.d_ff': 10240, 'model.activation': 'geglu',
          'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
          'model.scan_layers': True, 'model.remat': 'full', 'model.dtype': 'bfloat16',
          'train.batch_size': 2048, 'train.steps': 131_072, 'eval.every_steps': 1000,
          'optimizer.name': 'adafactor', 'optimizer.learning_rate': 1e-2,
          'optimizer.weight_decay': 0.0, 'objective.z_loss': 1e-4,
          'schedule.name': 'inverse_sqrt', 'schedule.warmup_steps': 10_000,
          'checkpoint.every_steps': 1000,
          'parallel.mesh.data': 1, 'parallel.mesh.fsdp': -1,
        },
        rows=dict.fromkeys(adapted, {'train.steps': 82_000}),
      ),
    },
  )  # fmt: skip
