"""How texts are asked for: options, order, end tokens, the loss of parts."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.tasks import writing
from tests.tasks import text_tasks

BYTES = ByteTokenizer()


def test_texts_are_written_greedily_or_by_beams_in_order():
  echo, prompts = text_tasks.Echo(), ['ccc', 'a', 'bb']
  ids = [BYTES.encode(prompt) for prompt in prompts]
  config = text_tasks.config('translation', {'task.options.max_new_tokens': 7})
  ids.insert(1, None)  # one that is not asked
  found = writing.write(echo, ids, config, stop='x')
  assert found == [{'text': 'ccc'}, None, {'text': 'a'}, {'text': 'bb'}]
  assert echo.asked == ['a', 'bb', 'ccc']  # of like length together
  assert echo.options == [dict(max_new_tokens=7, temperature=0.0, stop='x')]
  beams = {'task.options.beams': 3, 'task.options.length_penalty': 0.5}
  writing.write(echo, ids, text_tasks.config('translation', beams))
  assert echo.options[-1] == dict(max_new_tokens=32, beams=3, length_penalty=0.5)


def test_progress_is_told_of_each_batch(monkeypatch):
  monkeypatch.setattr(writing, 'BATCH', 2)
  told = []

  def progress(items, total):
    for item in items:
      told.append((item, total))
      yield item

  config = text_tasks.config('translation')
  ids = [BYTES.encode(text) for text in 'abc']
  found = writing.write(text_tasks.Echo(), ids, config, progress)
  assert [one and one['text'] for one in found] == ['a', 'b', 'c']
  assert told == [(0, 2), (2, 2)]


def test_parts_become_tokens_and_whether_they_bear_loss():
  tokens, mask = writing.with_loss([([5, 6], False), ([7], True), ([], True)])
  assert (tokens.tolist(), mask.tolist()) == ([5, 6, 7], [0, 0, 1])


def test_a_prompt_has_at_least_one_token():
  config = text_tasks.config('translation', {'task.options.max_new_tokens': 63})
  assert writing.num_free(config, []) == 1
  with pytest.raises(ConfigError, match='data.seq_len=64: 63 new tokens .* leave none'):
    writing.num_free(config, [256])


def test_the_end_token_is_that_of_documents():
  config = text_tasks.config('translation')
  assert writing.end_id(BYTES, config) == 256

  class Endless(ByteTokenizer):
    eos_id = None

  with pytest.raises(ConfigError, match='no end token.*tokenizer.name'):
    writing.end_id(Endless(), config)
