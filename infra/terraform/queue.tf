# The queue and its dead-letter queue. Their attributes are those that the program itself would create them with.

locals {
  queue = jsondecode(file("${path.module}/../create_queue.json")).Attributes

  queues = {
    jobs = "${var.name}.fifo"
    dead = "${var.name}-dead.fifo"
  }
}

resource "aws_sqs_queue" "this" {
  for_each = local.queues

  name                        = each.value
  fifo_queue                  = tobool(local.queue.FifoQueue)
  content_based_deduplication = tobool(local.queue.ContentBasedDeduplication)
  deduplication_scope         = local.queue.DeduplicationScope
  fifo_throughput_limit       = local.queue.FifoThroughputLimit
  visibility_timeout_seconds  = tonumber(local.queue.VisibilityTimeout)
  message_retention_seconds   = tonumber(local.queue.MessageRetentionPeriod)
  receive_wait_time_seconds   = tonumber(local.queue.ReceiveMessageWaitTimeSeconds)
  sqs_managed_sse_enabled     = true
}

resource "aws_sqs_queue_redrive_policy" "jobs" {
  queue_url = aws_sqs_queue.this["jobs"].id

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.this["dead"].arn
    maxReceiveCount     = var.max_receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.this["dead"].id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this["jobs"].arn]
  })
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = local.queues

  queue_url = aws_sqs_queue.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = aws_sqs_queue.this[each.key].arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
