"""Examples of the text model: what was liked, and candidates that were not rated."""

import json

from gpt_jax.recommend import examples
from gpt_jax.recommend.recommender import Recommender


def test_examples_are_liked_items_and_unrated_candidates(items, parts, tmp_path):
  made = Recommender(items, list(parts.train.values()))
  cases = list(examples.moments(parts))
  path = tmp_path / 'train.jsonl'
  count = examples.write(path, items, cases, made.stage, limit=12, seed=0)
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert count == len(lines) == 12 * 4
  rated = {(user, items.ids[row]) for user, row in parts.rated}
  for line in lines:
    assert ((line['user'], line['item']) in rated) == bool(line['label'])
    assert 1 <= len(line['history']) <= 5
    assert line['candidate'].partition(':')[0] not in line['history']
  again = tmp_path / 'again.jsonl'
  examples.write(again, items, cases, made.stage, limit=12, seed=0)
  assert again.read_text() == path.read_text()


def test_a_moment_is_asked_with_what_came_before(parts):
  for case in examples.moments(parts):
    liked = parts.train[case.user]
    (row,) = case.relevant
    assert liked[: len(case.history) + 1] == (*case.history, row)
