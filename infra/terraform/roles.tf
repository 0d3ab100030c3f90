# Who may do what. docs/aws.md has the table of which call of the program needs which permission, and a test compares
# both with the code.

locals {
  partition   = data.aws_partition.current.partition
  recordings  = "arn:${local.partition}:s3:::${local.recordings_bucket}"
  transcripts = "arn:${local.partition}:s3:::${local.transcripts_bucket}"

  queue_actions = {
    # No sqs:CreateQueue: the queues are there, and a mistyped name shall be an error.
    director = {
      jobs = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:SendMessage"]
      dead = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    }
    worker = {
      jobs = [
        "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage", "sqs:SendMessage",
      ]
      dead = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    }
  }

  # Director and worker alike: the one reads lengths and pauses of recordings, the other their sound, and both write
  # records.
  bucket_statements = concat([
    {
      # Without the right to list, S3 answers 403 instead of 404 for what is not there; and a condition on a prefix
      # would take it away again, since asking for a single object names no prefix.
      Sid      = "List"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [local.recordings, local.transcripts]
    },
    {
      Sid      = "ReadRecordings"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = [join("/", compact([local.recordings, var.recordings_prefix, "*"]))]
    },
    {
      Sid      = "KeepTranscripts"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
      Resource = ["${local.transcripts}/*"]
    }],
    [for key in compact([var.kms_key_arn]) : {
      Sid      = "Key"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = [key]
    }],
  )
}

data "aws_partition" "current" {}

resource "aws_iam_role" "task" {
  for_each = local.queue_actions

  name               = "${var.name}-${each.key}"
  assume_role_policy = local.assumed_by["ecs-tasks.amazonaws.com"]
}

resource "aws_iam_role_policy" "task" {
  for_each = local.queue_actions

  name = "work"
  role = aws_iam_role.task[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for queue, actions in each.value : {
        Sid      = title(queue)
        Effect   = "Allow"
        Action   = actions
        Resource = [aws_sqs_queue.this[queue].arn]
      }],
      local.bucket_statements,
    )
  })
}

# What starts tasks: fetches their image and opens their log. Amazon documents the condition below for a task's own role
# and not for this one, and with one that is not met no task would start. No other account can be given a role anyway.
resource "aws_iam_role" "start" {
  name = "${var.name}-start"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.start.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"] # it takes no other
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [for repository in aws_ecr_repository.this : repository.arn]
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      },
    ]
  })
}

locals {
  assumed_by = { for service in ["ecs-tasks.amazonaws.com", "scheduler.amazonaws.com"] : service => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = service }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  }) }
}
