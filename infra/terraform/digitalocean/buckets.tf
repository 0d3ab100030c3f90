locals {
  endpoint = "https://${var.spaces_region}.digitaloceanspaces.com"
}

resource "digitalocean_spaces_bucket" "this" {
  for_each = toset(["recordings", "transcripts"])

  name          = "${var.bucket_prefix}-${each.key}"
  region        = var.spaces_region
  acl           = "private"
  force_destroy = var.delete_buckets_with_contents

  # What is deleted or overwritten by mistake can be restored for a month.
  versioning {
    enabled = true
  }

  # No object ever expires, parts of unfinished recordings least of all.
  lifecycle_rule {
    id                                     = "earlier-versions"
    enabled                                = true
    abort_incomplete_multipart_upload_days = 7

    noncurrent_version_expiration {
      days = 30
    }
  }
}

# The keys of director, workers and server. The server writes what people upload into the recordings.
resource "digitalocean_spaces_key" "this" {
  name = var.name

  dynamic "grant" {
    for_each = digitalocean_spaces_bucket.this

    content {
      bucket     = grant.value.name
      permission = "readwrite"
    }
  }
}
