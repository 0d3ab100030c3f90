# The director: started again and again, or one that stays and watches. One that is stopped loses nothing, so Spot will
# do; and two at a time only find that the other has queued what they would.

resource "aws_ecs_service" "director" {
  count = var.director == "watch" ? 1 : 0

  name             = "director"
  cluster          = aws_ecs_cluster.this.id
  task_definition  = aws_ecs_task_definition.this["director"].arn
  platform_version = "1.4.0"
  desired_count    = 1
  propagate_tags   = "SERVICE"

  capacity_provider_strategy {
    capacity_provider = local.spot.capacity_provider
    weight            = local.spot.weight
    base              = local.spot.base
  }

  network_configuration {
    subnets          = local.subnet_ids
    security_groups  = [aws_security_group.task.id]
    assign_public_ip = var.assign_public_ip
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this, aws_iam_role_policy.task, aws_iam_role_policy.start]
}

resource "aws_scheduler_schedule" "director" {
  count = var.director == "scheduled" ? 1 : 0

  name                = "${var.name}-director"
  schedule_expression = var.director_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.schedule[0].arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this["director"].arn
      platform_version    = "1.4.0"
      propagate_tags      = "TASK_DEFINITION"

      capacity_provider_strategy {
        capacity_provider = local.spot.capacity_provider
        weight            = local.spot.weight
        base              = local.spot.base
      }

      network_configuration {
        subnets          = local.subnet_ids
        security_groups  = [aws_security_group.task.id]
        assign_public_ip = var.assign_public_ip
      }
    }

    retry_policy {
      maximum_event_age_in_seconds = 900
      maximum_retry_attempts       = 10 # Spot may have no room for a moment
    }
  }
}

resource "aws_iam_role" "schedule" {
  count = var.director == "scheduled" ? 1 : 0

  name               = "${var.name}-schedule"
  assume_role_policy = local.assumed_by["scheduler.amazonaws.com"]
}

resource "aws_iam_role_policy" "schedule" {
  count = var.director == "scheduled" ? 1 : 0

  name = "start-director"
  role = aws_iam_role.schedule[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Run"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = [aws_ecs_task_definition.this["director"].arn]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Sid       = "Tag"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = ["*"] # a task has no name before it is started
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid       = "HandOver"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [aws_iam_role.task["director"].arn, aws_iam_role.start.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]
  })
}
