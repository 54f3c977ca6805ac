"""What is undecided may still change; what is decided may not."""

import pytest

from gpt_jax.safety import folding, kinds

TEXTS = [
  'card 4111 1111 1111 1111, ',
  'a.b@c.example.com and',
  'gb82 west 1234 5698 7654 32 ',
  'id 110105 19491231 002x, ',
  'ip 192.168.1.20. ',
]


@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('rest', ['', '1', ' 1', 'x', '.5', '@d.org', ',5'])
def test_spans_before_the_undecided_place_stay(text, rest):
  for cut in range(len(text)):
    head = text[:cut]
    limit = kinds.undecided(head, 0)
    for find in kinds.KINDS.values():
      now = {span for span in find(head, 0) if span[0] < limit}
      later = {span for span in find(head + rest, 0) if span[0] < limit}
      assert now == later


def test_a_search_can_begin_anywhere():
  text = folding.NUMBERS.of('tel 555-1234, a@b.org, 4111 1111 1111 1111, 192.168.1.20')
  for find in kinds.KINDS.values():
    whole = set(find(text, 0))
    for start in range(len(text)):
      assert set(find(text, start)) == {span for span in whole if span[0] >= start}


@pytest.mark.parametrize(
  'text', ['ip 1.2.3.4', '1.2.3.4/8', 'http://1.2.3.4', '10.2.3.40']
)
def test_addresses_are_told_from_versions(text):
  assert list(kinds.KINDS['ip'](text, 0))


@pytest.mark.parametrize(
  'text', ['1.2.3.4', 'version 10.2.3.40', 'a 1.2.3.40.5', 'v1.2.3.4']
)
def test_versions_and_sections_are_no_addresses(text):
  assert not list(kinds.KINDS['ip'](text, 0))
