"""Which answerer a run is."""

from gpt_jax.support import answerers
from gpt_jax.support.generative_answerer import GenerativeAnswerer
from gpt_jax.support.sentence_answerer import SentenceAnswerer
from gpt_jax.tasks import TASKS


def test_without_a_run_there_are_sentences():
  assert isinstance(answerers.open_answerer(None), SentenceAnswerer)


def test_a_language_model_writes(finished_run):
  made = answerers.open_answerer(finished_run)
  assert isinstance(made, GenerativeAnswerer)
  assert made.name == f'{finished_run} at step 6'


def test_entries_are_tasks_that_there_are():
  assert set(answerers.ANSWERERS) - {''} <= set(TASKS)
