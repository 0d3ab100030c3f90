# The buckets. An existing one for recordings is only read: nothing about it is changed.

locals {
  made = toset(var.recordings_bucket == null ? ["recordings", "transcripts"] : ["transcripts"])

  recordings_bucket  = var.recordings_bucket == null ? aws_s3_bucket.this["recordings"].bucket : var.recordings_bucket
  transcripts_bucket = aws_s3_bucket.this["transcripts"].bucket

  source = join("/", compact(["s3://${local.recordings_bucket}", var.recordings_prefix]))
  dest   = "s3://${local.transcripts_bucket}"
}

resource "aws_s3_bucket" "this" {
  for_each = local.made

  bucket        = "${var.name}-${each.key}-${data.aws_caller_identity.current.account_id}-${var.region}"
  force_destroy = var.delete_buckets_with_contents
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.made

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.made

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.made

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# What is deleted or overwritten by mistake (a --redo with the wrong model) can be had back for a month.
resource "aws_s3_bucket_versioning" "this" {
  for_each = local.made

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

# Nothing that is there is ever expired, parts of unfinished recordings least of all: a queue keeps jobs for two weeks,
# and a part that is gone is work to do again. The program removes them itself when their recording is finished.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.made

  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "uploads-that-were-given-up"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "what-was-there-before"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  # Written every few seconds, and of no use to anybody once they are written again.
  dynamic "rule" {
    for_each = each.key == "transcripts" ? ["jobs", "parts"] : []

    content {
      id     = "what-${rule.value}-were-there-before"
      status = "Enabled"

      filter {
        prefix = ".nightscribe/${rule.value}/"
      }

      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = local.made

  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_public_access_block.this] # the two cannot be set at the same moment

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.this[each.key].arn, "${aws_s3_bucket.this[each.key].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
