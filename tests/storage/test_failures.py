"""What buckets answer is tried again where it passes, and told in words else."""

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import failures, patience

PATH = 'gs://my-bucket/run/config.json'


class HttpError(Exception):
  """As gcsfs': with the status in `code`."""

  def __init__(self, code):
    super().__init__(f'answer {code}')
    self.code = code


@pytest.mark.parametrize('code', [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(code):
  tries = []

  def action():
    tries.append(code)
    if len(tries) < 3:
      raise HttpError(code)
    return 'done'

  assert patience.patiently(action, PATH, sleep=lambda _: None) == 'done'
  assert len(tries) == 3


@pytest.mark.parametrize(
  'error, said',
  [
    (HttpError(401), 'gcloud auth application-default login'),
    (HttpError(403), "permission denied by gs://my-bucket"),
    (OSError('Forbidden: https://x'), 'permission denied'),
    (HttpError(503), 'does not answer as it should'),
    (HttpError(418), 'answer 418'),
    (ConnectionResetError('cut'), 'does not answer as it should'),
  ],
)  # fmt: skip
def test_what_remains_names_the_path_and_the_way_out(error, said):
  def action():
    raise error

  with pytest.raises(StorageError) as raised:
    patience.patiently(action, PATH, sleep=lambda _: None)
  assert PATH in str(raised.value) and said in str(raised.value)
  assert raised.value.exit_code == 5


def test_what_is_not_there_is_no_failure():
  with pytest.raises(FileNotFoundError), failures.explained(PATH):
    raise FileNotFoundError(PATH)


def test_a_bucket_that_is_not_there_is_named():
  text = str(failures.explain(FileNotFoundError(PATH), PATH))
  assert "no bucket 'my-bucket'" in text


def test_patience_ends(monkeypatch):
  monkeypatch.setattr(patience, 'PATIENCE_SECONDS', -1.0)
  tries = []

  def action():
    tries.append(1)
    raise HttpError(500)

  with pytest.raises(StorageError):
    patience.patiently(action, PATH, sleep=lambda _: None)
  assert len(tries) == 1
