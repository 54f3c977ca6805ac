"""Lines of the request log: whole, without texts, and where a rotation puts them."""

import json
import stat

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.serving.request_log import RequestLog
from tests.serving.records import record


def lines(path):
  return [json.loads(line) for line in path.read_text('utf-8').splitlines()]


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'logs' / 'requests.jsonl'


def test_a_line_tells_sizes_times_and_counts(path):
  RequestLog(path).write(record())
  (found,) = lines(path)
  assert found == {
    'time': '1970-01-12T13:46:40.250Z', 'id': 'req-1', 'key': 'key-1',
    'method': 'POST', 'route': '/v1/completions', 'model': 'small', 'stream': False,
    'status': 200, 'outcome': 'ok', 'request_bytes': 0, 'prompt_tokens': 7,
    'reused_tokens': 4, 'new_tokens': 5, 'redactions': {'email': 2},
    'filter_hits': {'answer/weapons': 1}, 'queue_seconds': 1.0,
    'first_token_seconds': 2.0, 'token_seconds': 0.5, 'seconds': 4.0,
  }  # fmt: skip


def test_texts_are_left_out_unless_asked_for(path):
  RequestLog(path).write(record(), prompt='my secret', answer='your secret')
  assert 'secret' not in path.read_text()


def test_texts_that_are_asked_for_are_redacted(path):
  log = RequestLog(path, redact=lambda text: text.replace('a@b.example', '[email]'))
  log.write(record(), prompt='from a@b.example\nhello', answer='你好')
  (found,) = lines(path)
  assert (found['prompt'], found['answer']) == ('from [email]\nhello', '你好')


def test_a_rotated_file_is_made_anew(path):
  log = RequestLog(path)
  log.write(record(id='one'))
  path.rename(path.with_suffix('.1'))
  log.write(record(id='two'))
  path.unlink()
  log.write(record(id='three'))
  assert [found['id'] for found in lines(path)] == ['three']
  assert [found['id'] for found in lines(path.with_suffix('.1'))] == ['one']


def test_only_the_owner_reads_the_log(path):
  RequestLog(path)
  assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_entry_that_cannot_be_written_fails_no_request(path):
  log = RequestLog(path)
  path.unlink()
  path.parent.rmdir()
  log.write(record())
  assert log.lost == 1


def test_a_path_that_is_a_folder_is_refused_at_the_start(tmp_path):
  with pytest.raises(StorageError, match='request_log'):
    RequestLog(tmp_path)


def test_the_log_can_go_to_standard_output(capfd):
  RequestLog('-').write(record())
  assert json.loads(capfd.readouterr().out)['id'] == 'req-1'


def test_probes_are_logged_only_where_they_fail(path):
  log = RequestLog(path)
  log.write(record(route='/healthz'))
  log.write(record(route='/healthz', status=503, outcome='dead'))
  assert [found['outcome'] for found in lines(path)] == ['dead']
