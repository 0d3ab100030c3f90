output "kubeconfig" {
  description = "The cluster's configuration for kubectl; its token is valid for a week."
  value       = digitalocean_kubernetes_cluster.this.kube_config[0].raw_config
  sensitive   = true
}

output "registry" {
  description = "Where the images go, as REGISTRY for .ci/images."
  value       = digitalocean_container_registry.this.endpoint
}

output "source" {
  description = "Where recordings are."
  value       = "s3://${digitalocean_spaces_bucket.this["recordings"].name}"
}

output "dest" {
  description = "Where transcripts go."
  value       = "s3://${digitalocean_spaces_bucket.this["transcripts"].name}"
}

output "spaces_access_key" {
  description = "Key for the two buckets."
  value       = digitalocean_spaces_key.this.access_key
}

output "spaces_secret_key" {
  description = "Secret for the two buckets."
  value       = digitalocean_spaces_key.this.secret_key
  sensitive   = true
}

output "database_url" {
  description = "The server's database, reached within the VPC."
  value       = digitalocean_database_cluster.this.private_uri
  sensitive   = true
}

output "helm_values" {
  description = "Values of the chart, for infra/kubernetes/setup.sh."
  value = yamlencode({
    source = "s3://${digitalocean_spaces_bucket.this["recordings"].name}"
    dest   = "s3://${digitalocean_spaces_bucket.this["transcripts"].name}"
    images = { registry = "${digitalocean_container_registry.this.endpoint}/nightscribe" }
    # The Jaeger that setup.sh installs.
    settings = { OTEL_EXPORTER_OTLP_ENDPOINT = "http://jaeger.monitoring:4318" }
    aws      = { region = var.spaces_region, secret = "aws", bucketsEndpoint = local.endpoint }
    server   = { enabled = true, databaseSecret = "database" }
    worker = {
      max          = var.max_worker_nodes * var.workers_per_node
      nodeSelector = { "nightscribe/pool" = "workers" }
      tolerations  = [{ key = "nightscribe/pool", operator = "Equal", value = "workers", effect = "NoSchedule" }]
    }
  })
}
