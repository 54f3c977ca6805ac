"""Pages that C4 leaves out, a rule at a time."""

import pytest

from gpt_jax.corpus import c4
from tests.corpus import texts

PAGE = 'It rained. "Why?" she said. We stayed at home! The end was near.'


@pytest.mark.parametrize(
  'text, reason',
  [
    (PAGE, None),
    (PAGE + ' function f() { }', 'curly brackets'),
    (PAGE + ' Lorem Ipsum dolor.', 'lorem ipsum'),
    ('It rained. We stayed.\nMenu\nHome', 'too few sentences'),
    ('下雨了。我们在家。她说：为什么？', None),
    (f'{PAGE}\n{PAGE}', 'three sentences again'),
  ],
)
def test_each_rule_has_its_reason(text, reason):
  assert c4.make(c4.Options(), None).keep(texts.document(text)) == reason


def test_rules_can_be_switched_off():
  options = c4.Options(
    min_sentences=0, lorem_ipsum=False, curly_brackets=False, max_repeated_spans=1.0
  )
  text = f'{PAGE}\n{PAGE} {{lorem ipsum}}'
  assert c4.make(options, None).keep(texts.document(text)) is None
