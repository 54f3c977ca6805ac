"""/v1/completions: texts that follow prompts."""

from gpt_jax.serving import generation
from gpt_jax.serving.call import Stream
from gpt_jax.serving.errors import invalid
from gpt_jax.serving.generation import FILTERED, Choice
from gpt_jax.serving.model import TEXT

DEFAULT_TOKENS = 16


async def answer(call):
  """Returns the answer of a Call, a dict or a Stream."""
  served = call.use(TEXT)
  prompts = _prompts(call.body['prompt'])
  n, width = _counts(call)
  options = generation.options_of(call, served.adapter)
  options['max_new_tokens'] = call.get('max_tokens', DEFAULT_TOKENS)
  logprobs = call.get('logprobs')
  if logprobs is not None or width > n:
    options['logprobs'] = logprobs or 0
  generation.require_streamed(call)
  generation.refuse_probabilities(call, logprobs is not None)
  is_echoed, is_streamed = bool(call.get('echo')), bool(call.get('stream'))
  if is_streamed and width > n:
    raise invalid(
      'best_of', 'above n: not with stream, which shows texts as they come.'
    )
  if is_streamed and is_echoed and logprobs is not None:
    raise invalid('echo', 'with logprobs: not with stream.')
  options['echo'] = is_echoed and not is_streamed and logprobs is not None
  model = served.model
  tokenizer = model.run.tokenizer
  prompts, refusal = await generation.admit_prompts(call, prompts, tokenizer)
  if refusal is not None:
    return _refused(call, refusal, is_streamed)
  choices = await generation.send(call, model, prompts, options, width)
  if is_streamed:
    return Stream(_events(call, choices, is_echoed, tokenizer))
  found = await generation.wholes(call, choices)
  pairs = list(zip(choices, found, strict=True))
  if width > n:
    pairs = _best(pairs, n, width)
  listed = []
  for i, (choice, (completion, piece)) in enumerate(pairs):
    before = choice.text.prompt if is_echoed and not options['echo'] else ''
    log_probs = None
    if logprobs is not None:
      start = 0 if is_echoed else len(choice.text.prompt)
      log_probs = _log_probs(completion.log_probs, start, tokenizer)
    listed.append(_choice(i, before + piece.text, log_probs, piece.finish))
  return _object(call, listed) | {'usage': generation.usage(call, choices)}


def _prompts(prompt):
  """Returns a list of texts or lists of ids."""
  if isinstance(prompt, str) or isinstance(prompt[0], int):
    return [prompt]
  return prompt


def _counts(call):
  n = call.get('n', 1)
  width = call.get('best_of', n)
  if width < n:
    raise invalid(
      'best_of', f'{width}; expected at least n={n}, of which it is the best.'
    )
  return n, width


def _best(pairs, n, width):
  """Returns [(Choice, (Completion, Piece))] of the n likeliest of each prompt."""
  best = []
  for start in range(0, len(pairs), width):
    group = pairs[start : start + width]
    means = [c.text.handle.writing.result().mean_log_prob for c, _ in group]
    order = sorted(range(width), key=lambda i, means=means: -means[i])
    best += [group[i] for i in order[:n]]
  return best


async def _events(call, choices, is_echoed, tokenizer):
  with_usage = generation.wants_usage(call)
  extra = {'usage': None} if with_usage else {}
  offsets = [len(choice.text.prompt) for choice in choices]
  if is_echoed:
    for choice in choices:
      yield (
        _object(call, [_choice(choice.index, choice.text.prompt, None, None)]) | extra
      )
  generators = [generation.pieces(call, choice) for choice in choices]
  async for piece in generation.merged(generators):
    log_probs = None
    if piece.log_probs:
      log_probs = _log_probs(piece.log_probs, offsets[piece.index], tokenizer)
    offsets[piece.index] += len(piece.text)
    choice = _choice(piece.index, piece.text, log_probs, piece.finish)
    yield _object(call, [choice]) | extra
  if with_usage:
    yield _object(call, []) | {'usage': generation.usage(call, choices)}


def _refused(call, refusal, is_streamed):
  choice = _choice(0, refusal.text, None, FILTERED)
  found = _object(call, [choice])
  if not is_streamed:
    return found | {'usage': generation.usage(call, [Choice(0, None)])}

  async def events():
    yield found

  return Stream(events())


def _object(call, choices):
  return {
    'id': call.identifier('cmpl-'),
    'object': 'text_completion',
    'created': call.created,
    'model': call.record.model,
    'choices': choices,
  }


def _choice(index, text, log_probs, finish):
  return {'index': index, 'text': text, 'logprobs': log_probs, 'finish_reason': finish}


def _log_probs(tokens, offset, tokenizer):
  """Returns log-probabilities in the form of this route; `offset` of the first."""
  found = {'tokens': [], 'token_logprobs': [], 'top_logprobs': [], 'text_offset': []}
  for token in tokens or ():
    found['tokens'].append(_shown(token, tokenizer))
    found['token_logprobs'].append(token.log_prob)
    top = {_shown(one, tokenizer): one.log_prob for one in token.top}
    found['top_logprobs'].append(top or None)
    found['text_offset'].append(offset)
    offset += len(token.text)
  return found


def _shown(token, tokenizer):
  """Returns the text of a token; of a part of a character its bytes, as OpenAI does."""
  if '\ufffd' not in token.text or token.id >= tokenizer.vocab_size:
    return token.text
  pieces = (f'\\x{byte:02x}' for byte in tokenizer.token_bytes[token.id])
  return 'bytes:' + ''.join(pieces)
