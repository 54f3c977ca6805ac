"""The texts of one request: what is asked for, sent, followed, counted."""

import asyncio
import dataclasses
import secrets
from typing import Any

import numpy as np

from gpt_jax.serving.call import Screen
from gpt_jax.serving.errors import invalid

OPTIONS = (
  'temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'presence_penalty',
  'frequency_penalty', 'stop', 'banned', 'regex',
)  # fmt: skip
"""Fields of a body that are TextOptions of the same name."""
FINISH = {'stop': 'stop', 'length': 'length', 'dead_end': 'stop', 'cancelled': 'stop'}
"""Our reasons of an end, as OpenAI calls them."""
FILTERED = 'content_filter'


@dataclasses.dataclass
class Choice:
  """One text of the answer."""

  index: int
  text: Any
  """A `texts.Text`; None: the prompt was refused."""
  refusal: Any = None
  """Of the prompt."""


def options_of(call, adapter):
  """Returns the TextOptions that a body asks for, as a dict."""
  found = {name: call.body.get(name) for name in OPTIONS}
  found = {name: value for name, value in found.items() if value is not None}
  found['adapter'] = adapter
  if bias := call.get('logit_bias'):
    found['logit_bias'] = _bias(bias)
  found['seed'] = call.get('seed', secrets.randbits(31))
  return found


def _bias(bias):
  for token_id in bias:
    if not (token_id.isascii() and token_id.isdigit() and len(token_id) < 10):
      raise invalid('logit_bias', f'{token_id[:40]!r}: expected a token id.')
  return {int(token_id): value for token_id, value in bias.items()}


def refuse_probabilities(call, is_asked):
  """Raises ApiError 400: they would show what the policy's filter takes out."""
  if is_asked and call.hooks.policy is not None:
    raise invalid(
      'logprobs', 'not with the policy of this server, which edits answers.'
    )


async def send(call, model, prompts, options, count):
  """Returns the Choices of prompts, `count` of each in turn, sent to the model.

  A prompt is a text, ids, or a Refusal's choice. Raises ApiError 400 for what does not
  fit, QueueFullError where they cannot all wait.
  """
  total = len(prompts) * count
  most = min(call.settings.max_texts, model.texts.most_at_once)
  if total > most:
    raise invalid('n', f'{total} texts in one request; at most {most} are written.')
  call.record.prompt_tokens = 0
  model.texts.require_room(total)
  reads = [
    await model.texts.read(prompt, options, call.principal) for prompt in prompts
  ]
  requests = [request for _, _, request in reads]
  await call.admit(sum(len(r.prompt_ids) + count * r.max_new_tokens for r in requests))
  choices = []
  for prompt, asked, request in reads:
    call.record.prompt_tokens += len(request.prompt_ids)
    for sample in range(count):
      each = dataclasses.replace(request, seed=request.seed + sample)
      text = model.texts.send((prompt, asked, each))
      choices.append(Choice(len(choices), text))
      call.stack.callback(text.cancel)
  call.stack.callback(_count, call, [choice.text for choice in choices])
  return choices


def _count(call, texts):
  """Fills in what the record says of texts that are over."""
  record = call.record
  handles = [text.handle for text in texts]
  record.new_tokens = sum(len(handle.writing.ids) for handle in handles)
  record.reused_tokens = sum(handle.reused_tokens for handle in handles)
  for name, event in (('admitted', 'admitted'), ('first_token', 'first')):
    times = [h.seconds[event] for h in handles if event in h.seconds]
    setattr(record, name, min(times, default=None))
  if call.hooks.metrics is not None and not record.is_streamed:
    call.hooks.metrics.written(record.model, record.new_tokens)


async def admit_prompts(call, prompts, tokenizer):
  """Returns (prompts as the policy lets them be read, Refusal or None).

  Prompts are texts or lists of ids.
  """
  if call.hooks.policy is None:
    if call.hooks.request_log is not None:
      call.prompt_text = '\n'.join(_text_of(one, tokenizer) for one in prompts)
    return [_as_prompt(one) for one in prompts], None
  found = []
  for prompt in prompts:
    text, refusal = await call.admitted_prompt(_text_of(prompt, tokenizer))
    if refusal is not None:
      return [], refusal
    is_same = not isinstance(prompt, str) and text == _text_of(prompt, tokenizer)
    found.append(_as_prompt(prompt) if is_same else text)
  call.prompt_text = '\n'.join(_text_of(one, tokenizer) for one in found)
  return found, None


def _text_of(prompt, tokenizer):
  return prompt if isinstance(prompt, str) else tokenizer.decode(prompt)


def _as_prompt(prompt):
  return prompt if isinstance(prompt, str) else np.array(prompt, np.int32)


@dataclasses.dataclass(frozen=True)
class Piece:
  """What is shown next of a choice."""

  index: int
  text: str
  log_probs: tuple
  finish: str | None
  """As OpenAI calls it; None: more will come."""
  refusal: Any = None


async def pieces(call, choice):
  """Yields Pieces of a Choice as it is written, through the output filter."""
  screen = Screen(call)
  call.stack.callback(screen.close)
  async for part in choice.text.parts():
    if call.hooks.metrics is not None and part.count:
      call.hooks.metrics.written(call.record.model, part.count)
    shown = await screen.show(part.text, is_last=part.finish is not None)
    _keep(call, shown)
    if screen.refusal is not None:
      choice.text.cancel()
      yield Piece(choice.index, shown, (), FILTERED, screen.refusal)
      return
    finish = FINISH[part.finish] if part.finish else None
    if shown or part.log_probs or finish:
      yield Piece(choice.index, shown, part.log_probs, finish)


async def whole(call, choice):
  """Returns (Completion, Piece) of a Choice that has been written."""
  screen = Screen(call)
  call.stack.callback(screen.close)
  found = await choice.text.completion()
  shown = await screen.show(found.text, is_last=True)
  _keep(call, shown)
  if screen.refusal is not None:
    return found, Piece(choice.index, shown, (), FILTERED, screen.refusal)
  finish = FINISH[found.finish_reason]
  return found, Piece(choice.index, shown, found.log_probs or (), finish)


def _keep(call, shown):
  if call.hooks.request_log is not None:
    call.answer_text = (call.answer_text or '') + shown


async def wholes(call, choices):
  """Returns what `whole` does of all."""
  return await asyncio.gather(*(whole(call, choice) for choice in choices))


async def merged(generators):
  """Yields what several async generators do, as it comes."""
  if len(generators) == 1:
    async for item in generators[0]:
      yield item
    return
  queue = asyncio.Queue()

  async def pump(generator):
    async for item in generator:
      queue.put_nowait(item)

  tasks = [asyncio.create_task(pump(generator)) for generator in generators]
  for task in tasks:
    task.add_done_callback(queue.put_nowait)
  try:
    left = len(tasks)
    while left:
      item = await queue.get()
      if isinstance(item, asyncio.Task):
        left -= 1
        item.result()  # raises
      else:
        yield item
  finally:
    for task in tasks:
      task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def usage(call, choices):
  """Returns what the tokens of a request were."""
  handles = [choice.text.handle for choice in choices if choice.text is not None]
  prompt = call.record.prompt_tokens
  new = sum(len(handle.writing.ids) for handle in handles)
  cached = sum(handle.reused_tokens for handle in handles)
  return {
    'prompt_tokens': prompt,
    'completion_tokens': new,
    'total_tokens': prompt + new,
    'prompt_tokens_details': {'cached_tokens': cached},
  }


def wants_usage(call):
  """Returns whether a stream ends with its usage."""
  return bool((call.get('stream_options') or {}).get('include_usage'))


def require_streamed(call):
  """Raises ApiError 400 for options of streams without one."""
  if call.get('stream_options') is not None and not call.get('stream'):
    raise invalid('stream_options', 'only with stream=true.')
