"""Guides mask the next token of their own row, and end their own text."""

import dataclasses

import numpy as np
import pytest

from gpt_jax.inference import guide
from gpt_jax.inference.guide import Guides
from gpt_jax.inference.request import Request
from gpt_jax.inference.settings import Sampling
from tests.inference.test_engine import make

HOT = Sampling(temperature=5.0)


@dataclasses.dataclass(frozen=True)
class OnlyIds:
  """Allows one id after the other, then ends the text; with none, allows nothing."""

  ids: tuple
  masks: bool = True

  def start(self, prompt_ids):
    return Follower(self)


class Follower:
  def __init__(self, maker):
    self.left, self.masks = list(maker.ids), maker.masks

  def allowed(self):
    allowed_W = np.zeros(guide.words(16), np.uint32)
    if self.left:
      allowed_W[self.left[0] // 32] |= np.uint32(1 << (self.left[0] % 32))
    return allowed_W

  def take(self, token_id):
    del self.left[0]
    return not self.left


def test_a_mask_hides_ids_and_none_changes_nothing():
  logits_BV = np.random.default_rng(0).normal(size=(2, 70)).astype(np.float32)
  allowed_BW = np.full((2, guide.words(70)), guide.ALL)
  np.testing.assert_array_equal(guide.mask(logits_BV, allowed_BW), logits_BV)
  allowed_BW[1] = [1 << 31, 1, 1 << 2]
  masked_BV = np.asarray(guide.mask(logits_BV, allowed_BW))
  np.testing.assert_array_equal(masked_BV[0], logits_BV[0])
  assert np.flatnonzero(np.isfinite(masked_BV[1])).tolist() == [31, 32, 66]


@pytest.mark.slow
def test_a_guided_text_is_the_same_alone_and_in_company():
  engine = make()[2]
  ids = (3, 1, 4, 1, 5, 9, 2, 6)
  guided = Request(
    prompt_ids=[7], max_new_tokens=20, sampling=HOT, guides=[OnlyIds(ids)]
  )
  free = Request(prompt_ids=[7], max_new_tokens=20, sampling=HOT, seed=3)
  texts = engine.write([free, guided])
  assert texts[1].ids.tolist() == list(ids) and texts[1].finish == 'stop'
  assert texts[0].ids.tolist() == engine.generate([free])[0].tolist()
  assert texts[0].finish == 'length' and list(engine.stream(guided)) == list(ids)


@pytest.mark.slow
def test_where_no_token_is_allowed_the_text_ends():
  engine = make()[2]
  both = [OnlyIds((3, 1)), OnlyIds((3, 2))]
  (text,) = engine.write([Request(prompt_ids=[7], max_new_tokens=9, guides=both)])
  assert text.ids.tolist() == [3] and text.finish == 'dead_end'


@pytest.mark.slow
def test_without_masks_many_tokens_are_written_at_a_time():
  engine = make()[2]
  request = Request(prompt_ids=[7], max_new_tokens=20, sampling=HOT)
  (whole,) = engine.generate([request])
  ends = dataclasses.replace(request, guides=[OnlyIds((0,) * 5, masks=False)])
  (text,) = engine.write([ends])
  assert text.ids.tolist() == whole[:5].tolist() and text.finish == 'stop'


@pytest.mark.parametrize('count', [1, 2])
def test_several_guides_are_asked_together(count):
  guides = Guides([OnlyIds((3, 3))] * count, np.array([7]))
  assert guides.masks and guides.allowed().tolist() == [8]
  assert not guides.take(3) and guides.take(3)
