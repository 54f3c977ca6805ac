"""What /openapi.json says is true: schemathesis asks by it, and finds no difference."""

import pytest

from tests.serving import served


def test_the_page_lists_all_routes(server):
  page = served.http.get(server.url + '/openapi.json').json()
  assert page['openapi'] == '3.1.0'
  assert set(page['paths']) == {route.path for route in server.server.shared.routes()}
  body = page['paths']['/v1/completions']['post']['requestBody']
  fields = body['content']['application/json']['schema']['properties']
  assert fields['model']['enum'] == [served.NAME]


CHECKS = (
  'not_a_server_error', 'status_code_conformance', 'content_type_conformance',
  'response_schema_conformance', 'unsupported_method', 'negative_data_rejection',
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.extra
def test_schemathesis_finds_no_difference(server):
  schemathesis = pytest.importorskip(
    'schemathesis', reason='schemathesis tests servers by their OpenAPI page'
  )
  import hypothesis
  from schemathesis import checks

  schema = schemathesis.openapi.from_url(server.url + '/openapi.json')
  wanted = [checks.CHECKS.get_one(name) for name in CHECKS]
  asked = 0
  for result in schema.get_all_operations():
    operation = result.ok()

    @hypothesis.settings(
      max_examples=12, deadline=None, database=None, derandomize=True,
      suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy())
    def ask(case):
      nonlocal asked
      asked += 1
      case.call_and_validate(checks=wanted, timeout=60)

    ask()
  assert asked > 20
