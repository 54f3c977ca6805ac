"""Requests that fail, servers that die or are told to stop, and what keys share."""

import asyncio
import collections
import signal
import time

from tests.faults import instrumented, runs, servers
from tests.faults.servers import MODEL, SLOTS, WORK, Server

DRAIN_SECONDS = 20
DEATH = 3  # failing steps in a row after which an engine gives up


def poison(count, rng, folder):
  """A text whose guide raises an error, among others; then failing steps."""
  del rng
  workdir = servers.trained()
  with Server(folder, workdir) as server:
    row = poison_server(server, count)
  with Server(folder, workdir) as server:
    return with_death(row, server)


def poison_server(server, count):
  """Returns the row of `count` poisoned texts, each beside three others."""
  outcomes, wrong = collections.Counter(), []
  bodies = [_body(f'{n} words') for n in range(SLOTS - 1)]
  expected = [server.ask('POST', WORK, body).json['choices'] for body in bodies]
  poisoned = _body(instrumented.POISON)
  for _ in range(count):
    *others, ill = asyncio.run(_ask_all(server, [*bodies, poisoned]))
    same = [a.status == 200 and a.json['choices'] for a in others] == expected
    outcomes[f'{ill.status}, others {"finish" if same else "DIFFER"}'] += 1
    if ill.status != 500 or not same:
      wrong.append(f'{ill.status} {ill.content[:300]!r}; others: {others}'[:800])
    elif ill.headers['x-request-id'] not in ill.json['error']['message']:
      wrong.append(f'no id in {ill.content!r}')
    elif ill.headers['x-request-id'] not in server.log():
      wrong.append('no id in the log')
  server.probe('fail 1')
  failed = server.ask('POST', WORK, bodies[0])
  again = server.ask('POST', WORK, bodies[0])
  outcomes[f'a failing step: {failed.status}, then {again.status}'] += 1
  if (failed.status, again.status) != (500, 200) or again.json['choices'] != expected[
    0
  ]:
    wrong.append(f'a failing step: {failed}, then {again}')
  return runs.row(
    'a poisoned request; failing steps of the engine', outcomes, not wrong,
    '\n'.join(wrong) or 'the error has the id of the request, as the log has',
  )  # fmt: skip


def with_death(row, server):
  """Returns the row with the end of a server whose engine gives up."""
  server.probe(f'fail {10 * DEATH}')
  statuses = []
  for _ in range(DEATH):
    try:
      statuses.append(server.ask('POST', WORK, _body('some words')).status)
    except OSError:
      statuses.append(None)
  alive, until = _health(server), time.monotonic() + 5
  while alive == 200 and time.monotonic() < until:  # the answer comes before the end
    time.sleep(0.1)
    alive = _health(server)
  code = server.end(seconds=60)
  row['outcomes'][f'the engine dies: exit code {code}'] = 1
  if code == 0 or alive == 200 or 200 in statuses:
    row['nothing_lost'] = False
    row['message'] += (
      f'\nexit {code}, /healthz {alive}, {statuses}: {server.log()[-800:]}'
    )
  return row


def _health(server):
  """Returns the status of /healthz, None where nobody listens any more."""
  try:
    return server.ask('GET', '/healthz', seconds=5).status
  except OSError:
    return None


def _body(prompt, tokens=24, **options):
  # With log-probabilities: they tell of any other key or value, where texts may agree.
  return {
    'model': MODEL, 'prompt': prompt, 'max_tokens': tokens, 'temperature': 0,
    'logprobs': 1, **options,
  }  # fmt: skip


async def _ask_all(server, bodies, headers=None):
  headers = headers or [()] * len(bodies)
  return await asyncio.gather(
    *(
      servers.ask_async(server.port, body, headers=lines)
      for body, lines in zip(bodies, headers, strict=True)
    )
  )


def leak(count, rng, folder):
  """Canaries of two keys, interleaved, that begin alike."""
  with Server(folder, servers.trained(), with_keys=True) as server:
    return leak_from(server, count, rng)


def leak_from(server, count, rng):
  """Returns the row of `count` prompts of two keys over slots that others have used.

  An answer has to be the one that its prompt gets alone, and no key may find in the
  cache what only the other has sent.
  """
  outcomes, wrong, sent = collections.Counter(), [], {'a': set(), 'b': set()}
  shared = 'a long text that both of the keys begin their prompts with, word for word: '
  canaries = {
    key: [f'{shared}{rng.randbytes(8).hex()} ' for _ in range(8)] for key in sent
  }
  alone = {}
  for key, prompts in canaries.items():
    for prompt in prompts:
      alone[prompt] = server.ask('POST', WORK, _body(prompt, 16), key).json['choices']
  # Each prompt goes to the other key too: the answer may not differ, nor come sooner.
  plan = [
    (key, rng.choice(canaries[rng.choice('ab')] + [f'{rng.randbytes(9).hex()} x']))
    for key in ('a', 'b') for _ in range(count // 2)
  ]  # fmt: skip
  rng.shuffle(plan)
  for first in range(0, count, 2 * SLOTS):
    batch = plan[first : first + 2 * SLOTS]
    answers = asyncio.run(_ask_all(
      server, [_body(prompt, 16) for _, prompt in batch],
      [(f'authorization: Bearer {server.secrets[key]}',) for key, _ in batch],
    ))  # fmt: skip
    for (key, prompt), answer in zip(batch, answers, strict=True):
      text = answer.json['choices'] if answer.status == 200 else answer
      others = [c for c in canaries['b' if key == 'a' else 'a'] if c != prompt]
      is_leak = any(one.removeprefix(shared)[:16] in str(text) for one in others)
      is_same = prompt not in alone or text == alone[prompt]
      outcomes['as alone' if is_same and not is_leak else 'LEAK'] += 1
      if is_leak or not is_same:
        wrong.append(f'{key} {prompt!r}: {text}')
  wrong += _foreign_reuse(server, rng)
  return runs.row(
    'canaries of two keys in reused slots and cached prompts', outcomes, not wrong,
    '\n'.join(wrong[:10]) or 'a key reuses its own prompts and none of the other',
  )  # fmt: skip


def _foreign_reuse(server, rng):
  """Returns what is wrong with the tokens that keys reuse of their own and others."""
  wrong = []
  for _ in range(5):
    prompt = f'{rng.randbytes(40).hex()} ' * 3
    counts = [
      server.complete(prompt, key, max_tokens=1).json['usage'] for key in 'aabb'
    ]
    reused = [one['prompt_tokens_details']['cached_tokens'] for one in counts]
    if reused[0] or not reused[1] or reused[2] or not reused[3]:
      wrong.append(f'tokens reused by a, a, b, b: {reused}')
  return wrong


def stop(count, rng, folder):
  """SIGTERM at a random moment while streams and queued requests are under way."""
  workdir, rows = servers.trained(), []
  for _ in range(count):
    with Server(folder, workdir, f'--drain_seconds={DRAIN_SECONDS}') as server:
      rows.append(stop_server(server, rng.uniform(0.05, 0.4)))
  outcomes = sum(
    (collections.Counter(row['outcomes']) for row in rows), start=collections.Counter()
  )
  wrong = [row['message'] for row in rows if not row['nothing_lost']]
  return runs.row(
    'SIGTERM under load', outcomes, not wrong,
    '\n'.join(wrong) or rows[-1]['message'],
  )  # fmt: skip


def stop_server(server, delay, num_requests=3 * SLOTS):
  """Returns the row of a server that is told to stop while requests are under way."""
  outcomes, wrong = collections.Counter(), []
  bodies = [_body(f'{n} words', 200, stream=n % 2 == 0) for n in range(num_requests)]
  answers, late, seconds = asyncio.run(_stop_during(server, bodies, delay))
  code = server.end(seconds=DRAIN_SECONDS + 30)
  for body, answer in zip(bodies, answers, strict=True):
    whole = answer.status == 200 and (
      answer.content.count(b'[DONE]') == 1 if body['stream'] else answer.json['choices']
    )
    outcomes['answered in full' if whole else f'LOST: {answer.status}'] += 1
    if not whole:
      wrong.append(f'{answer.status} {answer.content[-200:]!r}')
  outcomes[f'exit code {code}'] += 1
  outcomes[f'a new request: {late}'] += 1
  if code or late == 200:
    wrong.append(f'exit {code}, a new request {late}: {server.log()[-500:]}')
  return runs.row(
    'SIGTERM under load', outcomes, not wrong,
    '\n'.join(wrong) or f'ended {seconds:.1f} s after the signal',
  )  # fmt: skip


async def _stop_during(server, bodies, delay):
  """Returns (answers, what a new request gets, seconds until the last answer)."""
  asked = asyncio.gather(*(servers.ask_async(server.port, body) for body in bodies))
  await asyncio.sleep(delay)
  await asyncio.to_thread(server.process.signal, signal.SIGTERM)
  began = time.monotonic()
  await asyncio.sleep(1.0)
  try:
    late = (await servers.ask_async(server.port, bodies[0], seconds=10)).status
  except OSError:
    late = 'no connection'
  return await asked, late, time.monotonic() - began
