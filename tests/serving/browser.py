"""A headless Chromium for tests of pages."""

import contextlib
import pathlib

import pytest

CHROMIUM = '/usr/bin/chromium'


@contextlib.contextmanager
def open_browser():
  """Yields playwright's browser; skips where there is none."""
  api = pytest.importorskip('playwright.sync_api', reason='drives the browser')
  if not pathlib.Path(CHROMIUM).exists():
    pytest.skip(f'needs a browser: {CHROMIUM} (apt-get install chromium)')
  with api.sync_playwright() as playwright:
    # A user of a container has no sandbox of its own; all pages are the tests'.
    made = playwright.chromium.launch(
      executable_path=CHROMIUM, args=['--no-sandbox', '--disable-gpu']
    )
    yield made
    made.close()
