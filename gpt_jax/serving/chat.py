"""/v1/chat/completions: the next message of a conversation."""

from typing import Any

from gpt_jax.serving import generation, tools
from gpt_jax.serving.call import Stream
from gpt_jax.serving.errors import invalid
from gpt_jax.serving.generation import FILTERED, Choice
from gpt_jax.serving.model import CHAT


async def answer(call):
  """Returns the answer of a Call, a dict or a Stream."""
  served = call.use(CHAT)
  model, asked_tools = served.model, tools.asked(call)
  tokenizer = model.run.tokenizer
  n = call.get('n', 1)
  options = generation.options_of(call, served.adapter) | _grammar(call, asked_tools)
  if (new := call.get('max_completion_tokens', call.get('max_tokens'))) is not None:
    options['max_new_tokens'] = new
  _add_ends(options, model.chat)
  if call.get('top_logprobs') is not None and not call.get('logprobs'):
    raise invalid('top_logprobs', 'only with logprobs=true.')
  if call.get('logprobs'):
    options['logprobs'] = call.get('top_logprobs', 0)
  generation.require_streamed(call)
  generation.refuse_probabilities(call, call.get('logprobs'))
  is_streamed = bool(call.get('stream'))
  messages, refusal = await _admitted(call, tools.plain(call.body['messages']))
  if refusal is not None:
    return _refused(call, refusal, is_streamed)
  ids = model.chat.ids_of(tools.described(messages, asked_tools))
  choices = await generation.send(call, model, [ids], options, n)
  if is_streamed:
    return Stream(_events(call, choices, asked_tools, tokenizer))
  listed = []
  for choice, (_, piece) in zip(
    choices, await generation.wholes(call, choices), strict=True
  ):
    message = {'role': 'assistant', 'content': piece.text, 'refusal': None}
    finish = piece.finish
    if piece.refusal is not None:
      message['refusal'] = piece.refusal.text
    elif (found := tools.call_of(piece.text, asked_tools)) is not None:
      message |= {'content': None, 'tool_calls': [found]}
      finish = 'tool_calls'
    log_probs = None
    if call.get('logprobs'):
      log_probs = _log_probs(piece.log_probs, tokenizer)
    listed.append(
      {
        'index': choice.index,
        'message': message,
        'logprobs': log_probs,
        'finish_reason': finish,
      }
    )
  found = _object(call, 'chat.completion', listed)
  return found | {'usage': generation.usage(call, choices)}


def _grammar(call, asked_tools):
  """Returns the TextOptions that say what the whole answer is."""
  format_: dict[str, Any] = call.get('response_format') or {'type': 'text'}
  schema = None
  if format_['type'] == 'json_object':
    schema = {'type': 'object'}
  elif format_['type'] == 'json_schema':
    if 'json_schema' not in format_:
      raise invalid('response_format.json_schema', 'missing; it has to be given.')
    schema = format_['json_schema']['schema']
  if asked_tools.is_forced:
    if schema is not None:
      raise invalid('response_format', 'not with a tool_choice that asks for a call.')
    schema = asked_tools.schema()
  return {} if schema is None else {'json_schema': schema}


def _add_ends(options, format_):
  if 'stop_tokens' in format_.ends:
    options['stop_tokens'] = format_.ends['stop_tokens']
  if format_.stop and not ('json_schema' in options or 'regex' in options):
    stop = options.get('stop', ())
    given = (stop,) if isinstance(stop, str) else tuple(stop)
    options['stop'] = (*given, *format_.stop)


async def _admitted(call, messages):
  """Returns (messages as the policy lets them be read, Refusal or None)."""
  if call.hooks.policy is None and call.hooks.request_log is None:
    return messages, None
  found = []
  for message in messages:
    text, refusal = await call.admitted_prompt(message['content'])
    if refusal is not None:
      return [], refusal
    found.append(message | {'content': text})
  call.prompt_text = '\n'.join(f'{m["role"]}: {m["content"]}' for m in found)
  return found, None


async def _events(call, choices, asked_tools, tokenizer):
  with_usage = generation.wants_usage(call)

  def event(index, delta, finish=None, log_probs=None):
    choice = {'index': index, 'delta': delta, 'logprobs': log_probs}
    found = _object(call, 'chat.completion.chunk', [choice | {'finish_reason': finish}])
    return found | ({'usage': None} if with_usage else {})

  for choice in choices:
    yield event(choice.index, {'role': 'assistant', 'content': ''})
  generators = [
    tools.held(generation.pieces(call, choice), asked_tools) for choice in choices
  ]
  async for piece in generation.merged(generators):
    log_probs = _log_probs(piece.log_probs, tokenizer) if piece.log_probs else None
    if isinstance(piece, tools.CallPiece):
      yield event(piece.index, {'tool_calls': [piece.call | {'index': 0}]})
      yield event(piece.index, {}, 'tool_calls')
      continue
    if piece.text or log_probs:
      yield event(piece.index, {'content': piece.text}, None, log_probs)
    if piece.refusal is not None:
      yield event(piece.index, {'refusal': piece.refusal.text})
    if piece.finish:
      yield event(piece.index, {}, piece.finish)
  if with_usage:
    found = _object(call, 'chat.completion.chunk', [])
    yield found | {'usage': generation.usage(call, choices)}


def _refused(call, refusal, is_streamed):
  """Returns the policy's text as the answer."""
  if is_streamed:

    async def events():
      for delta, finish in (
        ({'role': 'assistant', 'content': refusal.text}, None),
        ({'refusal': refusal.text}, None),
        ({}, FILTERED),
      ):
        choice = {'index': 0, 'delta': delta, 'finish_reason': finish}
        yield _object(call, 'chat.completion.chunk', [choice])

    return Stream(events())
  message = {
    'role': 'assistant',
    'content': refusal.text,
    'refusal': refusal.text,
  }
  choice = {'index': 0, 'message': message, 'logprobs': None, 'finish_reason': FILTERED}
  found = _object(call, 'chat.completion', [choice])
  return found | {'usage': generation.usage(call, [Choice(0, None)])}


def _object(call, kind, choices):
  return {
    'id': call.identifier('chatcmpl-'),
    'object': kind,
    'created': call.created,
    'model': call.record.model,
    'choices': choices,
  }


def _log_probs(tokens, tokenizer):
  """Returns log-probabilities in the form of this route."""

  def entry(token):
    is_text = token.id < tokenizer.vocab_size
    return {
      'token': token.text,
      'logprob': token.log_prob,
      'bytes': list(tokenizer.token_bytes[token.id]) if is_text else None,
    }

  return {
    'content': [
      entry(token) | {'top_logprobs': [entry(one) for one in token.top]}
      for token in tokens
    ],
    'refusal': None,
  }
