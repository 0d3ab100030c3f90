# A fleet on DigitalOcean: a Kubernetes cluster whose nodes come and go with the work, a registry for the images, two buckets
# (Spaces) and a PostgreSQL. infra/kubernetes/setup.sh installs nightscribe in it; docs/digitalocean.md goes through both.

terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "2.99.1" # the one this is validated and tested with
    }
  }
}

# The token is in DIGITALOCEAN_TOKEN, and the keys that make buckets are in SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY.
provider "digitalocean" {}

resource "digitalocean_vpc" "this" {
  name   = var.name
  region = var.region
}
