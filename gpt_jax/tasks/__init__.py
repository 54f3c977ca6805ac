"""Supervised tasks: what a model is fine-tuned for, evaluated on and asked to predict.

Read `task.py` first, then `classification.py`; `encoding.py` makes rows of texts,
`dataset.py` batches of rows. A new task is a file with `make`, a line in TASKS.
"""

from gpt_jax.core.registry import lookup
from gpt_jax.tasks import (
  choice,
  classification,
  dialogue,
  generation,
  generative_answers,
  pairs,
  preference,
  recommendation,
  regression,
  relations,
  span_answers,
  summarization,
  tagging,
  translation,
  verbalizer,
)
from gpt_jax.tasks.task import Row, Task

TASKS = {
  'classification': classification.make,
  'pairs': pairs.make,
  'ner': tagging.make,
  'relations': relations.make,
  'prompt_classification': verbalizer.make,
  'qa': span_answers.make,
  'generative_qa': generative_answers.make,
  'choice': choice.make,
  'recommendation': recommendation.make,
  'regression': regression.make,
  'preference': preference.make,
  'summarization': summarization.make,
  'translation': translation.make,
  'dialogue': dialogue.make,
  'generation': generation.make,
}
"""Each entry: `make(config) -> Task`."""


def make_task(config) -> Task | None:
  """Returns the Task that task.name of a Config picks; None for ''."""
  if not config.task.name:
    return None
  return lookup(TASKS, config.task.name, 'task.name')(config)


__all__ = ['TASKS', 'Row', 'Task', 'make_task']
