"""The bucket of tests: uploads arrive to the byte."""

import pytest

from tests.storage import bucket_server

pytest.importorskip('gcp_storage_emulator', reason='needs gpt_jax[test]')


@pytest.mark.parametrize('end', [b'\n', b'\r\n'])
@pytest.mark.parametrize('content', [b'a\r', b'a\n', b'\r\n', b'', b'\n\n\x00\r'])
def test_contents_keep_their_last_bytes(content, end):
  lines = [b'--==0==', b'Content-Type: application/json', b'', b'{"name": "x"}']
  lines += [b'--==0==', b'Content-Type: text/plain', b'', content, b'--==0==--']
  found = bucket_server.related_parts(
    end.join(lines), 'multipart/related; boundary="==0=="'
  )
  assert found['content'] == content
  assert found['meta'] == {'name': 'x'} and found['content-type'] == 'text/plain'
