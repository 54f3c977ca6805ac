"""Does a small model learn more from a larger one than from the text alone?

DistilBERT and DistilGPT2 (Sanh et al. 2019, arXiv:1910.01108) have half the layers of
their teacher, start from every other one of them, and learn its distribution at a
temperature of 2 beside the targets (Hinton et al. 2015, arXiv:1503.02531) and the
direction of its hidden states. DistilGPT2 of 82 million parameters reaches a perplexity
of 21.1 on WikiText-103, its teacher GPT-2 of 124 million 16.3.

Here: a teacher of 4 layers of width 128 has read the docstrings of Python's library.
Students of 2 layers read the same, at equal steps: from `scratch`, with the teacher's
distribution (`KD`), from two of its layers without it (`init`), with both, and with its
hidden states besides.

What would change our mind: KD that gains less than 0.01 nats at equal steps, or nothing
once the student starts from the teacher's layers. The gain shrinks with more steps and
more data, since a student from scratch catches up; what is found here is of few.

At paper size GPT-2 124M and its student of 6 layers on texts of your own; the number of
steps is a guess.

  gpt-jax sweep experiments/distillation.py
"""

from gpt_jax.analysis import rules
from gpt_jax.sweeps import Claim, Experiment, Figure, FromRow, Outcome, Size

PAPER = 'Sanh et al. 2019 (DistilBERT), arXiv:1910.01108'
HINTON = 'Hinton et al. 2015, arXiv:1503.02531, section 2'
TEACHER = 'teacher'
KD = {'distill.teacher': FromRow(TEACHER)}
INIT = {'init_from': FromRow(TEACHER), 'init.transform': 'layers'}
HIDDEN = {'distill.hidden_weight': 1.0}
STUDENTS = {
  'scratch': {},
  'KD': KD,
  'init': INIT,
  'KD + init': KD | INIT,
  'KD + init + hidden': KD | INIT | HIDDEN,
}


def stays_behind(results):
  """Checks that the best student has a higher loss than its teacher."""
  teacher, *students = (
    results.where(row=row).mean('validation/loss')
    for row in (TEACHER, 'KD', 'KD + init', 'KD + init + hidden')
  )
  numbers = {TEACHER: teacher, 'best student': min(students)}
  return Outcome(min(students) > teacher, numbers)


def get_experiment():
  student = {'model.num_layers': 2}
  return Experiment(
    base='tiny', compare_to='scratch',
    overrides={'eval.every_steps': 0, 'checkpoint.every_steps': 0},
    rows={row: student | given for row, given in STUDENTS.items()} | {TEACHER: {}},
    claims=(
      Claim(
        'soft targets', 'A student learns more with its teacher’s distribution.',
        HINTON, 'ordering', 'M',
        'mean over seeds at least 0.01 nats below that from scratch, at equal steps',
        rules.better('KD', than='scratch', by=0.01), sizes=('quick',),
      ),
      Claim(
        'with layers', 'That holds for one that starts from layers of its teacher.',
        f'{PAPER}, table 4', 'ordering', 'M',
        'mean over seeds below that with the layers alone',
        rules.better('KD + init', than='init'), sizes=('quick',),
      ),
      Claim(
        'layers', 'Layers of the teacher are a better start than a random one.',
        f'{PAPER}, table 4', 'ordering', 'M', 'means over seeds, both with KD',
        rules.better('KD + init', than='KD'), sizes=('quick',),
      ),
      Claim(
        'teacher', 'No student is as good as its teacher.', f'{PAPER}, table 1',
        'ordering', 'V', 'mean over seeds of the best one above the teacher',
        stays_behind, sizes=('quick',),
      ),
    ),
    figures=(
      Figure('loss', 'Loss of students and teacher', y_label='nats a token'),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=5, seeds=(3, 4),
        overrides={
          'train.steps': 200, 'schedule.warmup_steps': 20, 'eval.every_steps': 100,
          'eval.max_batches': 20,
        },
        rows={TEACHER: {'train.steps': 600, 'eval.every_steps': 300}},
      ),
      'paper': Size(
        'v5p:2x2x4', minutes=2_000, seeds=(0,),
        overrides={
          'data.source': 'text', 'data.path': 'corpus/*.txt.gz', 'data.seq_len': 1024,
          'tokenizer.name': 'gpt2', 'train.batch_size': 480, 'train.steps': 20_000,
          'model.num_layers': 6, 'model.d_model': 768, 'model.num_heads': 12,
          'model.position': 'learned', 'model.norm': 'layernorm', 'model.bias': True,
          'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
          'optimizer.learning_rate': 6e-4, 'schedule.warmup_steps': 700,
          'eval.every_steps': 1_000, 'eval.max_batches': 64,
        },
        rows={
          **{row: {'model.num_layers': 6} for row in STUDENTS},
          TEACHER: {'model.num_layers': 12, 'train.steps': 100_000},
        },
      ),
    },
  )  # fmt: skip
