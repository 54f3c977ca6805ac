"""launch/serving/: rules and panels name metrics that exist, manifests fit together.

Where the real tools are: Kubernetes' schemas, and Prometheus's promtool.
"""

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from gpt_jax.serving import engine_state
from gpt_jax.serving.metrics import Metrics
from tests.serving.records import record

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'launch' / 'serving'
ADDED_BY_PROMETHEUS = {'job', 'instance', 'namespace', 'pod', 'le', 'alertstate'}
FUNCTIONS = {
  'avg_over_time', 'by', 'changes', 'histogram_quantile', 'increase', 'max', 'offset',
  'on', 'or', 'rate', 'sum', 'topk', 'unless', 'vector',
}  # fmt: skip


@pytest.fixture(scope='module')
def known():
  """Returns `{name of a series: its labels}` of a server that has answered."""
  state = engine_state.EngineState('m', 1, True, 0, 9, 0, 4, 8, 0, {})
  metrics = Metrics('1.0', engines=lambda: [state], budgets=lambda: {'key-1': 0.5})
  metrics.started()
  metrics.finished(record(outcome='cancelled', limit='tokens_per_day'))
  metrics.written('m', 1)
  metrics.reloaded('m')
  found = {'up': set()}
  for family in metrics.registry.collect():
    for sample in family.samples:
      found.setdefault(sample.name, set()).update(sample.labels)
  return found


def rules():
  groups = yaml.safe_load((FOLDER / 'alerts.yaml').read_text())['groups']
  return [rule for group in groups for rule in group['rules']]


def panels():
  dashboard = json.loads((FOLDER / 'grafana_dashboard.json').read_text())
  return [panel for panel in dashboard['panels'] if panel['type'] != 'row']


def expressions():
  """Yields (where, PromQL) of all files."""
  for rule in rules():
    yield rule.get('alert') or rule['record'], rule['expr']
  for panel in panels():
    for target in panel['targets']:
      yield panel['title'], target['expr']
  adapter = yaml.safe_load((FOLDER / 'prometheus_adapter.yaml').read_text())
  for rule in adapter['rules']['custom']:
    yield 'adapter', rule['seriesQuery']


def names_in(expression):
  """Returns (names of series, labels asked for) in PromQL."""
  labels = set()
  for inside in re.findall(r'\{([^}]*)\}', expression):
    labels |= set(re.findall(r'(\w+)\s*[=!]~?"|(\w+)!=', inside))
  labels = {one or other for one, other in labels}
  for inside in re.findall(r'\bby\s*\(([^)]*)\)', expression):
    labels |= {label.strip() for label in inside.split(',')}
  bare = re.sub(r'\{[^}]*\}|\[[^]]*\]|\bby\s*\([^)]*\)|"[^"]*"', ' ', expression)
  words = set(re.findall(r'(?<![\w.])[a-z_][\w:]*', bare))
  return words - FUNCTIONS, labels


def test_every_expression_asks_for_series_that_exist(known):
  recorded = {rule['record']: rule['expr'] for rule in rules() if 'record' in rule}
  for where, expression in expressions():
    names, labels = names_in(expression)
    series = names - set(recorded)
    assert names and series <= set(known), (where, series - set(known))
    for name in names & set(recorded):
      labels |= names_in(recorded[name])[1]
      series |= names_in(recorded[name])[0]
    there = ADDED_BY_PROMETHEUS.union(*(known[name] for name in series))
    assert labels <= there, (where, labels - there)


def test_the_page_on_operation_lists_all_metrics_and_alerts(known):
  text = (ROOT / 'docs' / 'serving_operations.md').read_text()
  listed = set(re.findall(r'`(gpt_jax_\w+)`', text))
  names = {name for name in known if not name.endswith('_created')}
  series = {re.sub(r'_(bucket|sum|count)$', '', name) for name in names}
  assert listed == {name for name in series if name.startswith('gpt_jax_')}
  alerts = {rule['alert'] for rule in rules() if 'alert' in rule}
  assert set(re.findall(r'`(GptJax\w+)`', text)) == alerts


def test_every_alert_says_what_and_what_to_do(known):
  for rule in rules():
    if 'alert' not in rule:
      continue
    assert set(rule['annotations']) == {'summary', 'action'}, rule['alert']
    assert rule['labels']['severity'] in {'info', 'warning', 'critical'}
    text = ' '.join(rule['annotations'].values())
    shown = set(re.findall(r'\$labels\.(\w+)', text))
    series, _ = names_in(rule['expr'])
    has = ADDED_BY_PROMETHEUS | {'model'}.union(*(known.get(s, set()) for s in series))
    assert shown <= has, rule['alert']


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
  dashboard = json.loads((FOLDER / 'grafana_dashboard.json').read_text())
  numbers = [panel['id'] for panel in dashboard['panels']]
  assert len(set(numbers)) == len(numbers)
  taken = set()
  for panel in dashboard['panels']:
    place = panel['gridPos']
    cells = {
      (x, y)
      for x in range(place['x'], place['x'] + place['w'])
      for y in range(place['y'], place['y'] + place['h'])
    }
    assert not cells & taken and place['x'] + place['w'] <= 24, panel['title']
    taken |= cells


def manifests():
  return list(yaml.safe_load_all((FOLDER / 'kubernetes.yaml').read_text()))


def manifest(kind):
  (found,) = [one for one in manifests() if one['kind'] == kind]
  return found


def test_a_pod_is_given_the_time_that_its_drain_takes():
  pod = manifest('Deployment')['spec']['template']['spec']
  (server,) = pod['containers']
  (drain,) = [arg for arg in server['args'] if arg.startswith('--drain_seconds=')]
  stop = server['lifecycle']['preStop']['sleep']['seconds']
  # Until the endpoint is gone everywhere, the readiness probe may still be asked.
  probe = server['readinessProbe']
  assert stop >= probe['periodSeconds']
  assert pod['terminationGracePeriodSeconds'] >= stop + int(drain.split('=')[1]) + 10


def test_the_parts_of_the_deployment_find_each_other():
  deployment = manifest('Deployment')
  labels = deployment['spec']['template']['metadata']['labels']
  assert deployment['spec']['selector']['matchLabels'] == labels
  assert manifest('Service')['spec']['selector'] == labels
  assert manifest('PodDisruptionBudget')['spec']['selector']['matchLabels'] == labels
  scaler = manifest('HorizontalPodAutoscaler')['spec']
  assert scaler['scaleTargetRef']['name'] == deployment['metadata']['name']
  adapter = yaml.safe_load((FOLDER / 'prometheus_adapter.yaml').read_text())
  names = {rule['name']['as'] for rule in adapter['rules']['custom']}
  assert {m['pods']['metric']['name'] for m in scaler['metrics']} <= names
  assert scaler['minReplicas'] > manifest('PodDisruptionBudget')['spec']['minAvailable']


def test_the_flags_of_the_deployment_are_those_of_serve():
  from gpt_jax import cli

  (server,) = manifest('Deployment')['spec']['template']['spec']['containers']
  _, args = cli.parse(['serve', *server['args']])
  assert args.port == server['ports'][0]['containerPort']


def test_no_secret_stands_in_a_file():
  text = (FOLDER / 'kubernetes.yaml').read_text()
  assert 'kind: Secret' not in text and 'secretKeyRef' in text


@pytest.mark.extra
@pytest.mark.parametrize('version', ['1.31', '1.37'])
def test_kubernetes_schemas_take_the_manifests(version):
  checker = pytest.importorskip('kubernetes_validate', reason='has the schemas')
  for one in manifests():
    checker.validate(one, version, strict=True)


@pytest.mark.extra
def test_kubernetes_schemas_refuse_a_field_that_is_not_there():
  checker = pytest.importorskip('kubernetes_validate', reason='has the schemas')
  broken = manifest('Service')
  broken['spec']['seletcor'] = {}
  with pytest.raises(checker.ValidationError):
    checker.validate(broken, '1.37', strict=True)


def promtool(*args):
  tool = shutil.which('promtool')
  if tool is None:
    pytest.skip('needs promtool (apt-get install prometheus)')
  done = subprocess.run([tool, *map(str, args)], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.extra
def test_alerts_fire_when_they_should_and_only_then():
  promtool('check', 'config', FOLDER / 'prometheus.yaml')
  promtool('test', 'rules', ROOT / 'tests' / 'serving' / 'alerts_test.yaml')
