"""Tags of every scheme become the same IOB2, and what is no scheme is refused."""

import random

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import tag_schemes

# Two people side by side, a place of one word, an organization of three words.
IOB2 = 'B-PER I-PER B-PER O B-LOC B-ORG I-ORG I-ORG O'.split()
SAME = {
  'IOB1': 'I-PER I-PER B-PER O I-LOC I-ORG I-ORG I-ORG O',
  'BIOES': 'B-PER E-PER S-PER O S-LOC B-ORG I-ORG E-ORG O',
  'BMES': 'B-PER E-PER S-PER O S-LOC B-ORG M-ORG E-ORG O',
  'BILOU': 'B-PER L-PER U-PER O U-LOC B-ORG I-ORG L-ORG O',
}


@pytest.mark.parametrize('scheme', SAME)
def test_every_scheme_becomes_iob2(scheme):
  assert tag_schemes.to_iob2(SAME[scheme].split()) == IOB2


def test_iob2_stays_as_it_is():
  assert tag_schemes.to_iob2(IOB2) == IOB2
  assert tag_schemes.to_iob2([]) == []


def test_tags_of_word_segmentation_need_no_type():
  assert tag_schemes.to_iob2('B M E S B E'.split()) == 'B I I B B I'.split()


def test_an_entity_may_be_cut_by_the_ends_of_a_sequence():
  tags = 'M-PER E-PER O S-LOC B-ORG M-ORG'.split()
  assert tag_schemes.to_iob2(tags) == 'B-PER I-PER O B-LOC B-ORG I-ORG'.split()
  assert tag_schemes.to_iob2(['E-PER', 'S-PER']) == ['B-PER', 'B-PER']


def test_any_order_of_iob_tags_becomes_valid_iob2():
  rng = random.Random(0)
  for _ in range(200):
    tags = rng.choices(['O', 'B-A', 'I-A', 'B-C', 'I-C'], k=6)
    fixed = tag_schemes.to_iob2(tags)
    tag_schemes.require_iob2(fixed, 'fixed')
    assert [tag[2:] for tag in fixed] == [tag[2:] for tag in tags]


@pytest.mark.parametrize(
  'tags, message',
  [
    ('B-PER X-PER', "tag 1 is 'X-PER'"),
    ('B-PER O-PER', "tag 1 is 'O-PER'"),
    ('o', "tag 0 is 'o'"),
    ('B- O', "tag 0 is 'B-'"),
    ('PER', "tag 0 is 'PER'"),
    ('S-PER B-PER O', "tag 2 is 'O' after 'B-PER'"),
    ('B-PER E-LOC', "tag 1 is 'E-LOC' after 'B-PER'"),
    ('S-PER I-PER', "tag 1 is 'I-PER' after 'S-PER'"),
    ('M-PER E-LOC', "tag 1 is 'E-LOC' after 'M-PER'"),
  ],
)
def test_a_sequence_of_no_scheme_is_refused(tags, message):
  with pytest.raises(DataError, match=message):
    tag_schemes.to_iob2(tags.split())


@pytest.mark.parametrize('tags', ['I-PER', 'O I-PER', 'B-LOC I-PER', 'B-PER E-PER'])
def test_what_is_no_iob2_is_found(tags):
  with pytest.raises(DataError, match='sentence 3: .*no IOB2'):
    tag_schemes.require_iob2(tags.split(), 'sentence 3')
