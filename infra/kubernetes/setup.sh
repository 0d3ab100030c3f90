#!/usr/bin/env bash
# infra/kubernetes/setup.sh VALUES: install all of nightscribe in the cluster of your kubeconfig, or bring it up to date.
#
# VALUES: a file with values of the chart in infra/helm/nightscribe; `terraform output -raw helm_values` prints one.
#
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY  keys of the buckets, put into the secret `aws`
#   DATABASE_URL   PostgreSQL of the server, put into the secret `database`
#   MONITORING     0 leaves out Prometheus, Grafana and Jaeger
#   DRY_RUN        1 only prints the commands
#
# It installs KEDA, the monitoring, and nightscribe, each by Helm in a version that is pinned here. Repeat it after any
# interruption: what is there already stays.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
VALUES=${1:-}
KEDA=2.20.2
PROMETHEUS=88.5.3
JAEGER=4.11.1

die() { echo "Error: $*" >&2; exit 2; }

# do COMMAND…: run it, or print it in a dry run. Secrets are read from standard input, and so never printed.
do_it() {
  if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "$@"
    echo
    [ -t 0 ] || cat >/dev/null
  else
    "$@"
  fi
}

chart() {
  local name=$1 namespace=$2
  shift 2
  do_it helm upgrade --install "$name" --namespace "$namespace" --create-namespace --wait --timeout 10m "$@" </dev/null
}

# secret NAME KEY=VALUE…: create or replace a secret, without its values among the arguments of a process.
secret() {
  local name=$1 pair
  shift
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: nightscribe}\ndata:\n' "$name"
    for pair in "$@"; do
      printf '  %s: %s\n' "${pair%%=*}" "$(printf %s "${pair#*=}" | base64 | tr -d '\n')"
    done
  } | do_it kubectl apply -f -
}

[ -n "$VALUES" ] || die "give a file with the chart's values: infra/kubernetes/setup.sh values.yaml"
[ -r "$VALUES" ] || die "$VALUES cannot be read."
for program in kubectl helm; do
  command -v "$program" >/dev/null || die "$program is not installed."
done
if [ -z "${DRY_RUN:-}" ]; then
  kubectl version >/dev/null 2>&1 || die "no cluster responds. Set KUBECONFIG to its configuration."
fi

echo "KEDA, which scales the workers …"
chart keda keda keda --repo https://kedacore.github.io/charts --version "$KEDA"

if [ "${MONITORING:-1}" != 0 ]; then
  echo "Prometheus, Grafana and Jaeger …"
  chart prometheus monitoring kube-prometheus-stack --repo https://prometheus-community.github.io/helm-charts \
    --version "$PROMETHEUS" --values "$HERE/monitoring/prometheus.yaml"
  chart jaeger monitoring jaeger --repo https://jaegertracing.github.io/helm-charts --version "$JAEGER" \
    --values "$HERE/monitoring/jaeger.yaml"
  kubectl create configmap nightscribe-dashboard --namespace monitoring --dry-run=client --output yaml \
    --from-file "$ROOT/infra/monitoring/grafana/dashboards/nightscribe.json" |
    kubectl label --local --filename - --output yaml grafana_dashboard=1 | do_it kubectl apply -f -
  # The same alerts as in compose, in the form that the operator of Prometheus reads.
  {
    printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'
    printf 'metadata: {name: nightscribe, namespace: monitoring}\nspec:\n'
    sed 's/^/  /' "$ROOT/infra/monitoring/alerts.yml"
  } | do_it kubectl apply -f -
fi

echo "nightscribe …"
do_it kubectl apply -f "$HERE/base/namespace.yaml" </dev/null
if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
  secret aws "AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:?It belongs to AWS_ACCESS_KEY_ID.}"
fi
if [ -n "${DATABASE_URL:-}" ]; then
  secret database "NIGHTSCRIBE_DATABASE=$DATABASE_URL"
fi
chart nightscribe nightscribe "$ROOT/infra/helm/nightscribe" --values "$VALUES"

cat <<'NEXT'

Everything is installed. Next:
  kubectl --namespace nightscribe create job --from=cronjob/director now     # look for recordings now, not at the full hour
  kubectl --namespace nightscribe get scaledobject,deployment,pods --watch
  kubectl --namespace monitoring port-forward service/prometheus-grafana 3000:80   # dashboards at http://localhost:3000
NEXT
