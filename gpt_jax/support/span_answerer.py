"""Answers by a run that was fine-tuned to find spans (task.name='qa')."""

import dataclasses

import jax

from gpt_jax.support import answer
from gpt_jax.train.predict import Predictor

RANK_WEIGHT = 6.0
"""Chosen on questions of held-out articles, with a reader of 692 questions: F1 of three
passages is .303 at 0, .422 at 1, .471 at 6, as of the first passage alone."""
BUCKETS = (64, 128, 192, 256, 384)  # lengths to which passages are padded
BATCH = 4  # rows: a question has few passages, and padding costs as much as they do


class SpanAnswerer:
  """Reads each passage, and takes the surest span of all."""

  kind = 'qa'
  passages = 1

  def __init__(self, run, name):
    """Takes a Run of the task, and what messages call it."""
    self.name = name
    length = run.config.data.seq_len
    buckets = tuple(one for one in BUCKETS if one < length)
    task = dataclasses.replace(run.config.task, buckets=buckets)
    self._predictor = Predictor(
      dataclasses.replace(run.config, task=task),
      run.params,
      run.tokenizer,
      name,
      max(BATCH, jax.device_count()),
    )

    self.answer_many = answer.Readings(self._read_many, RANK_WEIGHT).answer_many

  def _read_many(self, pairs, progress):
    asked = [dict(context=text, question=question) for question, text in pairs]
    return list(map(_reading, self._predictor.predict(asked, progress)))


def _reading(prediction):
  """Returns (text, log-probability); '' for what was dropped as too long."""
  if not prediction or prediction['log_prob'] is None:
    return '', answer.LEAST
  return prediction['text'], prediction['log_prob']
