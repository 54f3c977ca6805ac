"""Which answerer a run is: by the task that it was trained for, or a language model.

A new kind of run is an entry of ANSWERERS.
"""

import gpt_jax.api
from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import places
from gpt_jax.support.generative_answerer import GenerativeAnswerer
from gpt_jax.support.sentence_answerer import SentenceAnswerer
from gpt_jax.support.span_answerer import SpanAnswerer

ANSWERERS = {
  'qa': SpanAnswerer,
  '': GenerativeAnswerer,
  'generative_qa': GenerativeAnswerer,
  'dialogue': GenerativeAnswerer,
  'generation': GenerativeAnswerer,
}
"""task.name of a run -> its answerer; '' is a language model."""


def open_answerer(workdir, step=None):
  """Returns the Answerer of a run; None for `workdir`: one without a model.

  Raises ConfigError for a run that answers no questions.
  """
  if workdir is None:
    return SentenceAnswerer()
  run = gpt_jax.api.load(workdir, step=step)
  task = run.config.task.name
  if task not in ANSWERERS or not (task or run.config.objective.name == 'causal_lm'):
    what = f'task.name={task!r}' if task else run.config.objective.name
    raise ConfigError(
      f'--workdir={workdir}: a run of {what} answers no questions; expected one that'
      " was fine-tuned with task.name='qa' (configs/finetune.py:squad), or a language"
      ' model.'
    )
  name = f'{places.place(workdir)} at step {run.step}'
  return ANSWERERS[task](run, name)
