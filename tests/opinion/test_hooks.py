"""Commands and webhooks that are told of alerts, and what they say when they fail."""

import http.server
import json
import sys
import threading

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.opinion import hooks

ALERT = {'id': 'a/b', 'share': 0.5}


def test_a_command_reads_the_alert_and_no_shell_is_between(tmp_path):
  out = tmp_path / 'told.json'
  code = 'import sys; open(sys.argv[1], "w").write(sys.stdin.read() + sys.argv[2])'
  (tmp_path / 'tell.py').write_text(code)
  send = hooks.command(f'{sys.executable} {tmp_path}/tell.py {out} "$HOME; ls"')
  assert send(ALERT) == ''
  assert out.read_text() == json.dumps(ALERT) + '$HOME; ls'


def test_a_command_that_fails_or_hangs_says_so(monkeypatch):
  monkeypatch.setattr(hooks, 'SECONDS', 0.2)
  fail = hooks.command(f'{sys.executable} -c "import sys; sys.exit(\'no mail\')"')
  assert 'exit code 1: no mail' in fail(ALERT)
  assert 'timed out' in hooks.command('sleep 5')(ALERT)


@pytest.mark.parametrize('text', ['', 'no-such-program-here x', '"open'])
def test_a_command_that_cannot_be_run_is_refused(text):
  with pytest.raises(ConfigError, match='--alert_command'):
    hooks.command(text)


def test_a_webhook_gets_the_alert_as_json():
  got = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      got.append(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
      self.send_response(200 if len(got) == 1 else 500)
      self.end_headers()

    def log_message(self, *args):
      pass

  with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    send = hooks.webhook(f'http://127.0.0.1:{server.server_port}/alerts')
    assert send(ALERT) == '' and got == [ALERT]
    assert '500' in send(ALERT)
    server.shutdown()


@pytest.mark.parametrize(
  'url', ['file:///etc/passwd', 'ftp://a/b', 'nowhere', 'http:///']
)
def test_only_web_addresses_are_hooks(url):
  with pytest.raises(ConfigError, match='expected http'):
    hooks.webhook(url)
