"""Questions with answers, to choose a threshold and to measure.

Of a file in SQuAD's layout the passage that has the answer is known. A line of a .jsonl
file has `question`, `answers` (texts; [] where the documents have none) and, if it is
known, the `file` and `heading` that the answers are in.
"""

import dataclasses

from gpt_jax.core.errors import DataError
from gpt_jax.examples import splits
from gpt_jax.examples.record import value


@dataclasses.dataclass(frozen=True)
class Question:
  """A question, and what is right."""

  text: str
  answers: tuple[str, ...]  # () where the documents have none
  file: str = ''  # '' where it is not known
  heading: str = ''
  context: str = ''  # the paragraph with the answer

  def is_in(self, passage):
    """Returns whether a passage is from where the answer is: file and heading."""
    return (not self.file or passage.file == self.file) and (
      not self.heading or passage.heading == self.heading
    )

  def is_answered_by(self, passage):
    """Returns whether a passage has the answer: from there, with its text."""
    if not self.is_in(passage):
      return False
    text, context = _flat(passage.text), _flat(self.context)
    if context and context not in text and text not in context:
      return False
    return any(_flat(answer) in text for answer in self.answers)


def load(path, split='all', limit=None):
  """Returns the Questions of a file, at least one.

  Args:
    split: of a file in SQuAD's layout: train, validation or test, divided as the
      trainings of task.files={'all': path} are; all for every question.
    limit: of that many at most; which ones follows from their number alone.
  Raises DataError, naming file and line.
  """
  reader = 'squad' if str(path).endswith('.json') else 'auto'
  found = splits.load({'all': str(path)}, reader, {}, split, limit=limit)
  return [_squad(one) if reader == 'squad' else _line(one) for one in found]


def _squad(record):
  values = record.values
  if 'answers' not in values:
    raise DataError(f'{record.place}: has no answers, by which it would be scored.')
  answers = tuple(one['text'] for one in values['answers'])
  context = values['context'] if answers else ''
  return Question(values['question'], answers, '', values['title'], context)


def _line(record):
  values, place = record.values, record.place
  answers = value(values, 'answers', place, list)
  if not all(isinstance(one, str) and one.strip() for one in answers):
    raise DataError(f"{place}: 'answers' is {answers!r}; expected a list of texts.")
  others = {name: values.get(name, '') for name in ('file', 'heading', 'context')}
  if not all(isinstance(one, str) for one in others.values()):
    raise DataError(f"{place}: 'file', 'heading' and 'context' have to be texts.")
  return Question(value(values, 'question', place, str), tuple(answers), **others)


def _flat(text):
  return ' '.join(text.split())
