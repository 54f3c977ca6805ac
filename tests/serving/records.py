"""A request as the server leaves it, for what reads records."""

import collections

from gpt_jax.serving.request_record import RequestRecord

STARTED_AT = 1_000_000.25


def record(**values):
  """Returns the RequestRecord of an answer of 5 tokens: 1 s of queue, 1 of prompt."""
  return RequestRecord(
    **dict(
      id='req-1', route='/v1/completions', key_id='key-1', model='small',
      started_at=STARTED_AT, started=10.0, admitted=11.0, first_token=12.0, ended=14.0,
      prompt_tokens=7, reused_tokens=4, new_tokens=5, status=200,
      redactions=collections.Counter(email=2),
      filter_hits=collections.Counter({('answer', 'weapons'): 1}),
    ) | values
  )  # fmt: skip
