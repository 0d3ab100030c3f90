data "digitalocean_kubernetes_versions" "this" {
  version_prefix = var.kubernetes_version
}

resource "digitalocean_kubernetes_cluster" "this" {
  name                 = var.name
  region               = var.region
  version              = data.digitalocean_kubernetes_versions.this.latest_version
  vpc_uuid             = digitalocean_vpc.this.id
  ha                   = var.highly_available
  auto_upgrade         = true
  surge_upgrade        = true
  registry_integration = true # nodes may pull from the registry

  depends_on = [digitalocean_container_registry.this]

  maintenance_policy {
    day        = "sunday"
    start_time = "12:00" # not at night, when it works
  }

  dynamic "control_plane_firewall" {
    for_each = length(var.admin_addresses) == 0 ? [] : [var.admin_addresses]

    content {
      enabled           = true
      allowed_addresses = control_plane_firewall.value
    }
  }

  # Always there: the queue, the director, the server and monitoring.
  node_pool {
    name       = "base"
    size       = var.base_size
    node_count = var.base_nodes
  }
}

# Comes with the work. DigitalOcean keeps at least one node of a pool.
resource "digitalocean_kubernetes_node_pool" "workers" {
  cluster_id = digitalocean_kubernetes_cluster.this.id
  name       = "workers"
  size       = var.worker_size
  auto_scale = true
  min_nodes  = 1
  max_nodes  = var.max_worker_nodes
  labels     = { "nightscribe/pool" = "workers" }

  taint {
    key    = "nightscribe/pool"
    value  = "workers"
    effect = "NoSchedule"
  }
}

resource "digitalocean_container_registry" "this" {
  name                   = var.registry
  region                 = var.registry_region
  subscription_tier_slug = "basic"
}
