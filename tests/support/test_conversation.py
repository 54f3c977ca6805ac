"""A dialogue with a customer."""

import pytest

from gpt_jax.support import replies
from gpt_jax.support.confidence import Confidence
from gpt_jax.support.conversation import Conversation
from gpt_jax.support.hand_over import Rules
from tests.support import shop


@pytest.fixture
def talk(tmp_path):
  def talk(**rules):
    written = []
    service = shop.make_service(tmp_path, with_vectors=False)
    made = Conversation(
      service, replies.load(), Rules(**rules), lambda *given: written.append(given)
    )
    made.written = written
    return made

  return talk


def kinds(made, *messages):
  return [made.say(message).kind for message in messages]


def test_turns_are_fixed_replies_answers_and_refusals(talk):
  made = talk()
  asked = ['Hello', 'What costs postage?', 'xyzzy', 'How long do parcels take?']
  assert kinds(made, *asked) == ['fixed', 'answer', 'no_answer', 'answer']
  assert made.turns[1].reply == 'Postage costs 5 euros. [1]'
  assert not made.handed_over and not made.written


def test_two_questions_without_an_answer_hand_over(talk):
  made = talk()
  found = kinds(made, 'xyzzy', 'thanks', 'plugh', 'are you there?')
  assert found == ['no_answer', 'fixed', 'hand_over', 'waiting']
  assert made.handed_over == '2 questions in a row without an answer'
  (first, _), (second, reason) = made.written
  assert [one['kind'] for one in first] == ['no_answer', 'fixed', 'hand_over']
  assert len(second) == 4 and reason == made.handed_over


def test_an_answer_between_starts_the_count_again(talk):
  asked = ['xyzzy', 'What costs postage?', 'plugh']
  assert kinds(talk(), *asked) == ['no_answer', 'answer', 'no_answer']


@pytest.mark.parametrize(
  'message, reason',
  [('I want to speak to a manager', 'asked for a person'),
   ('awful lamps', 'the customer is angry')],
)  # fmt: skip
def test_a_person_takes_over_at_once(talk, message, reason):
  made = talk(anger_of=lambda text: float('awful' in text))
  turn = made.say(message)
  assert (turn.kind, turn.note, made.handed_over) == ('hand_over', reason, reason)


def test_a_sure_answer_is_given_whatever_the_tone(tmp_path):
  service = shop.make_service(tmp_path, shop.KnowingAnswerer())
  service.confidence = Confidence((0,) * 3, (1,) * 3, (0, 0, 1), 0, 0.2, 0, 0, 9, 9)
  rules = Rules(anger_of=lambda message: 1.0)
  made = Conversation(service, replies.load(), rules, lambda *given: None)
  asked = ['Hello', shop.ASKED[2][0], 'Which lamp sings?']
  assert kinds(made, *asked) == ['fixed', 'answer', 'hand_over']
  assert made.handed_over == 'the customer is angry'


def test_a_question_that_follows_up_searches_for_both(talk):
  made = talk()
  made.say('How tall is the lamp Lumo?')
  turn = made.say('And its cable?')
  assert turn.query == 'How tall is the lamp Lumo? And its cable?'
  assert 'cable' in turn.reply
  assert made.say('and the cable').query.startswith('How tall is the lamp Lumo? and')
  values = turn.to_dict()
  assert values['citations'][0]['place'] == 'lamps.md#Lamps'
