"""A policy file and an audit log at work in the server."""

import json

import pytest

from gpt_jax.safety import audit_check, policy
from gpt_jax.safety.audit import AuditLog
from gpt_jax.serving.hooks import Hooks
from tests.serving import served

pytestmark = pytest.mark.slow

RULES = [
  {'name': 'weapons', 'type': 'words', 'action': 'refuse', 'words': ['pipe bomb']},
  {'name': 'personal', 'type': 'personal_data', 'action': 'redact'},
  {'name': 'rivals', 'type': 'words', 'action': 'log', 'words': ['acme']},
  {
    'name': 'sevens', 'type': 'regex', 'on': 'answer', 'action': 'refuse',
    'patterns': ['7{4}'], 'refusal': 'No sevens.',
  },
]  # fmt: skip


@pytest.fixture(scope='module')
def guarded(tmp_path_factory):
  folder = tmp_path_factory.mktemp('policy')
  (folder / 'policy.json').write_text(json.dumps({'rules': RULES}))
  hooks = Hooks(
    policy=policy.load(folder / 'policy.json'), audit=AuditLog(folder / 'audit.jsonl')
  )
  with served.serve(hooks=hooks) as server:
    server.folder = folder
    yield server


def entries(server):
  lines = (server.folder / 'audit.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_prompts_are_refused_and_redacted_by_a_file(guarded):
  refused = guarded.complete('a PIPE bomb')['choices'][0]
  assert refused['finish_reason'] == 'content_filter'
  assert refused['text'] == 'I cannot help with that.'
  shown = guarded.complete('acme: a@b.org', echo=True, max_tokens=1)['choices'][0]
  assert shown['text'].startswith('acme: [EMAIL]')


def test_an_answer_stops_where_the_file_says(guarded):
  asked = dict(prompt='ab', max_tokens=8, logit_bias={'55': 100})
  found = guarded.complete(**asked)['choices'][0]
  assert (found['text'], found['finish_reason']) == ('', 'content_filter')


def test_the_audit_log_has_counts_and_no_text(guarded):
  def found():
    return [e for e in entries(guarded) if e['redactions'].get('email') == 2]

  guarded.complete('acme, a@b.org, c@d.org', max_tokens=1)
  served.wait_until(found)
  (entry,) = found()
  assert entry['filter_hits'] == {'prompt/personal': 2, 'prompt/rivals': 1}
  assert 'a@b.org' not in json.dumps(entry) and 'acme' not in json.dumps(entry)
  assert audit_check.verify(guarded.folder / 'audit.jsonl').records
