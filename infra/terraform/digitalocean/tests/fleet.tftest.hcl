# What is made of the variables, without an account: `terraform init && terraform test`.

mock_provider "digitalocean" {
  mock_data "digitalocean_kubernetes_versions" {
    defaults = { latest_version = "1.33.1-do.0" }
  }

  mock_resource "digitalocean_container_registry" {
    defaults = { endpoint = "registry.digitalocean.com/archive" }
  }

  mock_resource "digitalocean_kubernetes_cluster" {
    defaults = { kube_config = [{ raw_config = "apiVersion: v1" }] }
  }
}

variables {
  bucket_prefix = "archive"
  registry      = "archive"
}

run "as_it_comes" {
  assert {
    condition     = digitalocean_kubernetes_node_pool.workers.auto_scale && digitalocean_kubernetes_node_pool.workers.min_nodes == 1
    error_message = "Nodes for workers come and go with the work."
  }

  assert {
    condition     = alltrue([for bucket in digitalocean_spaces_bucket.this : bucket.acl == "private" && !bucket.force_destroy])
    error_message = "Nobody else reads the buckets, and nothing deletes their contents."
  }

  assert {
    condition     = toset([for grant in digitalocean_spaces_key.this.grant : grant.bucket]) == toset(["archive-recordings", "archive-transcripts"])
    error_message = "The key opens these two buckets and no other."
  }

  assert {
    condition     = yamldecode(output.helm_values).images.registry == "registry.digitalocean.com/archive/nightscribe"
    error_message = "The chart takes the images from the registry."
  }

  assert {
    condition     = yamldecode(output.helm_values).worker.tolerations[0].key == one(digitalocean_kubernetes_node_pool.workers.taint).key
    error_message = "Workers may run on the nodes that are made for them."
  }

  assert {
    condition     = length(digitalocean_kubernetes_cluster.this.control_plane_firewall) == 0
    error_message = "Without addresses, the control plane has no firewall of its own."
  }
}

run "closed" {
  variables {
    admin_addresses  = ["203.0.113.7/32"]
    max_worker_nodes = 10
    workers_per_node = 7
  }

  assert {
    condition     = one(digitalocean_kubernetes_cluster.this.control_plane_firewall).enabled
    error_message = "The control plane can be closed to everybody else."
  }

  assert {
    condition     = yamldecode(output.helm_values).worker.max == 70
    error_message = "There are no more workers than fit on the nodes."
  }
}

run "a_name_that_no_bucket_can_have" {
  command = plan

  variables {
    bucket_prefix = "My Archive"
  }

  expect_failures = [var.bucket_prefix]
}
