"""Learning BPE: the library's merges, long parts, signals, progress, errors."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import tokenizers as library

from gpt_jax.core.errors import DataError
from gpt_jax.data import bpe_training
from tests import tiny_runs

ENGLISH = (
  tiny_runs.words(20_000) + "\n\nIt's 12345, isn't it?  Naïve -- 你好！\r\n" * 20
)


def learn(texts, size=320):
  return bpe_training.learn(texts, size, ['<|endoftext|>'])


def vocabulary(model):
  return model.get_vocab()


def test_it_learns_what_the_plain_trainer_learns():
  plain = library.Tokenizer(library.models.BPE())
  plain.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
  trainer = library.trainers.BpeTrainer(
    vocab_size=320,
    special_tokens=['<|endoftext|>'],
    initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  plain.train_from_iterator([ENGLISH], trainer=trainer)
  assert vocabulary(learn([ENGLISH])) == vocabulary(plain)


@pytest.mark.parametrize(
  'alphabet', ['的一是了我不人在他有', '0123456789', '=-_*', ' ']
)
def test_long_parts_are_learned_from_in_pieces(alphabet):
  rng = np.random.default_rng(0)
  text = ''.join(rng.choice(list(alphabet), 20_000))
  size = bpe_training.MAX_PART_CHARS
  pieces = [text[i : i + size] for i in range(0, len(text), size)]
  assert vocabulary(learn([text])) == vocabulary(learn(pieces))


@pytest.fixture
def interruptible():
  """SIGINT raises, also where it is ignored, as in a background job of a shell."""
  former = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures('interruptible')
def test_an_interrupt_ends_it_at_once():
  seen = []

  def texts():
    for text in iter(lambda: 'some words', None):
      seen.append(text)
      time.sleep(0.001)
      yield text

  threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
  started = time.monotonic()
  with pytest.raises(KeyboardInterrupt):
    learn(texts())
  assert time.monotonic() - started < 5
  (thread,) = (t for t in threading.enumerate() if t.name == 'bpe')
  thread.join(10)  # it reads no further
  assert seen and not thread.is_alive()


def test_lines_tell_how_far_it_is(monkeypatch, capsys):
  monkeypatch.setattr(bpe_training, '_REPORT_SECONDS', 0.0)
  monkeypatch.setattr(bpe_training, '_WAIT_SECONDS', 0.01)

  def texts():
    time.sleep(0.2)
    yield 'some words ' * 5_000

  learn(texts(), 300)
  assert 'learning 300 tokens of BPE: reading 0.0 million' in capsys.readouterr().err


def test_an_error_of_the_texts_is_raised():
  def texts():
    yield 'good'
    raise DataError('record 2 is bad')

  with pytest.raises(DataError, match='record 2'):
    learn(texts())
