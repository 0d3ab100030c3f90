# What director and workers have in common: images, a cluster, a log, and how a task is run.

locals {
  tasks = {
    director = {
      command = var.director == "watch" ? ["director", "--watch"] : ["director"]
      cpu     = 1024
      memory  = 2048
    }
    worker = {
      command = ["worker"]
      cpu     = var.worker_cpu
      memory  = var.worker_memory_mib
    }
  }

  environment = merge({
    AWS_DEFAULT_REGION               = var.region
    NIGHTSCRIBE_SOURCE               = local.source
    NIGHTSCRIBE_DEST                 = local.dest
    NIGHTSCRIBE_QUEUE_NAME           = local.queues.jobs
    NIGHTSCRIBE_VISIBILITY_TIMEOUT_S = local.queue.VisibilityTimeout
    NIGHTSCRIBE_MAX_RECEIVES         = tostring(var.max_receives)
    NIGHTSCRIBE_MODEL                = var.model
    NIGHTSCRIBE_CACHE_GB             = tostring(var.cache_gb)
    NIGHTSCRIBE_THREADS              = tostring(var.worker_cpu / 1024)
    NIGHTSCRIBE_POLL_S               = "60" # each look at a bucket is paid for by the thousand recordings
  }, var.settings)

  spot = { capacity_provider = "FARGATE_SPOT", weight = 1, base = 0 }
}

resource "aws_ecr_repository" "this" {
  for_each = local.tasks

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true # an image is built again in minutes

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = local.tasks

  repository = aws_ecr_repository.this[each.key].name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "The last ten, to go back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_ecs_cluster" "this" {
  name = var.name
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE_SPOT"]
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.tasks

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  # Of Fargate's disk the image takes a part, and 21 GiB is the least that can be asked for.
  ephemeral_storage {
    size_in_gib = max(21, var.cache_gb + 16)
  }

  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = "${aws_ecr_repository.this[each.key].repository_url}:${var.image_tag}"
    command                = each.value.command
    essential              = true
    user                   = "1000:1000"
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    environment            = [for name, value in local.environment : { name = name, value = value }]

    # The image declares /tmp as a volume; or Fargate would mount one that only root may write to.
    mountPoints = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]

    # Spot takes a task back with two minutes' notice, which comes as a SIGTERM. A worker gives its job back within ten
    # seconds of it; the rest is for a director that is still writing.
    stopTimeout = 120

    healthCheck = {
      command     = ["CMD", "nightscribe", "health"]
      interval    = 60
      timeout     = 30
      retries     = 3
      startPeriod = 300
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "task"
        mode                  = "non-blocking" # a log that does not answer is no reason to stop transcribing
        max-buffer-size       = "4m"
      }
    }
  }])
}
