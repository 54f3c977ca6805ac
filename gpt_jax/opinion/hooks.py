"""Who is told of an alert: a command that reads it, or a URL that it is posted to."""

import json
import shlex
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from gpt_jax.core.errors import ConfigError

SECONDS = 10.0


def command(text):
  """Returns `send(alert)` that runs the words of `text` with the alert as its input.

  No shell: words are split as a shell would, and nothing is expanded. Raises
  ConfigError for a program that is not there.
  """
  try:
    words = shlex.split(text)
  except ValueError as error:
    raise ConfigError(f'--alert_command={text!r}: {error}.') from error
  if not words or shutil.which(words[0]) is None:
    raise ConfigError(
      f'--alert_command={text!r}: no such program; expected one with its arguments,'
      ' which gets the alert as JSON on its standard input.'
    )

  def send(alert):
    try:
      done = subprocess.run(
        words, input=json.dumps(alert).encode(), timeout=SECONDS, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
      )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
      return f'{words[0]}: {error}'
    if done.returncode:
      said = done.stderr.decode('utf-8', 'replace').strip()[-200:]
      return f'{words[0]}: exit code {done.returncode}' + (f': {said}' if said else '')
    return ''

  return send


def webhook(url):
  """Returns `send(alert)` that posts the alert as JSON to an http or https URL."""
  parts = urllib.parse.urlsplit(url)
  if parts.scheme not in ('http', 'https') or not parts.hostname:
    raise ConfigError(f'--alert_url={url}: expected http://... or https://...')

  def send(alert):
    request = urllib.request.Request(
      url, json.dumps(alert).encode(), {'Content-Type': 'application/json'}
    )
    try:
      with urllib.request.urlopen(request, timeout=SECONDS):
        return ''
    except (OSError, ValueError) as error:
      return f'{parts.hostname}: {error}'

  return send
