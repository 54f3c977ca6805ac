"""How good the service is, on questions whose answers are known."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.support import confidence, evaluate, questions
from gpt_jax.support.questions import Question
from tests.support import shop


@pytest.fixture
def made(tmp_path):
  return shop.make_service(tmp_path, shop.KnowingAnswerer())


@pytest.fixture
def asked(tmp_path):
  return questions.load(shop.write_questions(tmp_path / 'q.jsonl', repeats=2))


def vectors(made, asked):
  return made.searcher.embed([one.text for one in asked])


def test_recall_is_the_share_that_is_found_so_far(made, asked):
  curves = evaluate.recall(made.searcher, asked, vectors(made, asked))
  assert list(curves) == ['bm25', 'dense', 'fused']
  for method, curve in curves.items():
    ranks = []
    for one in asked:
      if one.answers:
        hits = made.searcher.search(one.text, evaluate.DEEPEST, method)
        right = [hit.rank for hit in hits if one.is_answered_by(hit.passage)]
        ranks.append(min(right, default=99))
    for k in (1, 2, 3):
      assert curve[k - 1] == pytest.approx(sum(r <= k for r in ranks) / len(ranks))
  assert evaluate.recall(made.searcher, [Question('a', ())], None) is None


def test_answers_are_scored_for_each_way_to_search(made, asked):
  found = evaluate.reading(made, asked, vectors(made, asked))
  assert set(found) == {
    'bm25, 2 passages', 'dense, 2 passages', 'fused, 2 passages', 'fused, 1 passage',
    'fused, 3 passages',
  }  # fmt: skip
  assert found['fused, 2 passages']['exact_match'] == 1
  with pytest.raises(DataError, match='none of them has an answer'):
    evaluate.reading(made, [Question('a', ())], None)


def test_the_right_paragraph_is_the_most_search_can_give(made):
  text, said, _ = shop.ASKED[0]
  context = 'Return lamps within 30 days.'
  one = Question(text, (said,), '', 'Returns', context)
  found = evaluate.reading(made, [one], vectors(made, [one]))
  assert found['right paragraph'] == dict(exact_match=1, f1=1, cited=1)


def test_each_question_is_asked_with_its_file_hidden(made, asked):
  found = evaluate.ask_twice(made, asked, vectors(made, asked))
  assert len(found) == 3 * len(asked) / 2
  for one in found:
    files = {hit.passage.file for hit in one.hits}
    if one.question.file:
      assert (one.question.file in files) == one.is_answerable
    else:
      assert not one.is_answerable


def test_refusals_count_both_kinds_of_error(made, asked):
  twice = evaluate.ask_twice(made, asked, vectors(made, asked))
  bold = evaluate.refusals(made, twice)
  assert (bold['false_answers'], bold['false_refusals'], bold['f1']) == (1, 0, 1)
  made.confidence = confidence.fit(
    [one.features for one in twice], [one.is_answerable for one in twice]
  )
  fitted = evaluate.refusals(made, twice)
  assert (fitted['false_answers'], fitted['false_refusals']) == (0, 0)
  assert (fitted['num_answerable'], fitted['num_unanswerable']) == (12, 24)
  assert fitted['answered_f1'] == fitted['exact_match'] == 1
