"""Learns the merges of a byte-level BPE, by the trainer of the `tokenizers` library."""

import sys
import threading
import time

import tokenizers as library

# The pattern of GPT-2 (and of the library's `ByteLevel`): no merge crosses its parts.
GPT2_PATTERN = (
  r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
# The trainer takes time quadratic in the length of a part, and text without spaces is
# one part. Longer ones are learned from in parts of so many characters; encoding has no
# such bound.
MAX_PART_CHARS = 64
_REPORT_SECONDS = 10.0
_WAIT_SECONDS = 0.2


def fingerprint():
  """Returns what decides the merges besides the texts: ours, and the library's."""
  return f'{GPT2_PATTERN} {MAX_PART_CHARS} {library.__version__}'


def learn(texts, vocab_size, special_tokens):
  """Returns a `tokenizers.Tokenizer` with the merges of `texts`, and no decoder.

  It runs in a thread, as the library answers no signal; lines on standard error say how
  far it is.
  """
  parts = library.pre_tokenizers
  model = library.Tokenizer(library.models.BPE())
  model.pre_tokenizer = parts.Sequence(
    [
      parts.Split(library.Regex(GPT2_PATTERN), 'isolated'),
      parts.Split(library.Regex(rf'[\s\S]{{1,{MAX_PART_CHARS}}}'), 'isolated'),
      parts.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  trainer = library.trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=special_tokens,
    initial_alphabet=parts.ByteLevel.alphabet(),
    show_progress=False,
  )
  read = _Counted(texts)
  work = _Thread(lambda: model.train_from_iterator(read, trainer=trainer))
  _wait(work, read, vocab_size)
  return model


class _Counted:
  """Iterates over texts until told to stop, and counts their characters."""

  def __init__(self, texts):
    self._texts = texts
    self.num_chars, self.is_done, self.is_stopped = 0, False, False

  def __iter__(self):
    for text in self._texts:
      if self.is_stopped:
        break
      self.num_chars += len(text)
      yield text
    self.is_done = True


class _Thread(threading.Thread):
  """Runs `work`, and keeps what it raised."""

  def __init__(self, work):
    super().__init__(name='bpe', daemon=True)  # an interrupted process does not wait
    self._work, self.error = work, None
    self.start()

  def run(self):
    try:
      self._work()
    except BaseException as error:
      self.error = error


def _wait(work, read, vocab_size):
  """Waits in the main thread, where signals become exceptions; reports, re-raises."""
  started = reported = time.monotonic()
  try:
    while work.is_alive():
      work.join(_WAIT_SECONDS)
      if time.monotonic() - reported >= _REPORT_SECONDS:
        reported = time.monotonic()
        what = 'counting and merging' if read.is_done else 'reading'
        print(
          f'learning {vocab_size:,} tokens of BPE: {what}'
          f' {read.num_chars / 1e6:.1f} million characters,'
          f' {reported - started:.0f} s',
          file=sys.stderr,
          flush=True,
        )
  finally:
    read.is_stopped = True
  if work.error is not None:
    raise work.error
