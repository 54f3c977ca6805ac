"""Texts of many senders are those of one sender alone, in complete characters."""

import threading

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.waiting import QueueFullError
from tests.inference.test_text import make

OPTIONS = dict(max_new_tokens=16, temperature=1.5)


def generator():
  return make(inference__slots=2, inference__prefill_chunk=16, inference__queue_limit=4)


@pytest.mark.slow
def test_senders_in_threads_get_the_texts_of_generate():
  found = {}
  with generator().scheduler().start() as scheduler:

    def send(seed):
      handle = scheduler.submit('π says', seed=seed, **OPTIONS)
      pieces = list(handle)
      found[seed] = pieces, handle.result()

    senders = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for sender in senders:
      sender.start()
    for sender in senders:
      sender.join(timeout=60)
  for seed, (pieces, completion) in found.items():
    expected = generator().generate('π says', seed=seed, **OPTIONS)
    assert ''.join(pieces) == expected == completion.text
    assert completion.finish_reason in ('length', 'stop')
  assert len(found) == 4


def test_stop_strings_echo_and_cancelling_hold_for_handles():
  with generator().scheduler() as scheduler:
    text = generator().generate('ab', **OPTIONS)
    stop = text[3:5]
    handle = scheduler.submit('ab', stop=stop, echo=True, **OPTIONS)
    assert ''.join(handle) == 'ab' + text[: text.index(stop)]
    assert handle.result().finish_reason == 'stop'
    other = scheduler.submit('ab', **OPTIONS)
    other.cancel()
    assert other.result().finish_reason == 'cancelled'


def test_what_cannot_be_sent_is_told_at_once():
  with generator().scheduler() as scheduler:
    with pytest.raises(ConfigError, match='a handle is one text'):
      scheduler.submit('ab', n=2, **OPTIONS)
    with pytest.raises(ConfigError, match='temperature'):
      scheduler.submit('ab', temperature=-1)
    for i in range(4):
      scheduler.submit('ab', seed=i, **OPTIONS)
    with pytest.raises(QueueFullError, match='inference.queue_limit=4'):
      scheduler.submit('ab', **OPTIONS)
