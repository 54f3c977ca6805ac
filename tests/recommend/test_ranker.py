"""The text model reads titles and a candidate; a run of another task is refused."""

import types

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.recommend import ranker


class Run:
  """Likes candidates of war, and remembers what it was asked."""

  def __init__(self, task='recommendation'):
    self.config = types.SimpleNamespace(task=types.SimpleNamespace(name=task))

  def predict(self, asked, progress=None):
    self.asked = asked
    return [dict(score=float('War' in one['candidate'])) for one in asked]


def test_scores_come_back_by_case(items):
  run = Run()
  found = ranker.Ranker(run, items).scores([((0, 1), [2, 20]), ((3,), [17])])
  assert found == [[0.0, 1.0], [1.0]]
  assert run.asked[1] == dict(
    history=['Comedy, part 0 (1980)', 'Comedy, part 1 (1981)'],
    candidate='War, part 5 (1985): War, Drama',
  )


def test_only_the_last_titles_are_read(items):
  found = ranker.example(items, tuple(range(9)), 20)
  assert found['history'] == [items.titles[row] for row in range(4, 9)]


def test_a_run_of_another_task_is_refused(items):
  with pytest.raises(ConfigError, match="task.name='classification'; expected"):
    ranker.Ranker(Run('classification'), items)
