# Workers: none while there is nothing to do, up to var.max_workers of them while there is.
#
# Target tracking on jobs per worker cannot leave zero (it would divide by it), and when it scales in, ECS stops
# whichever task it likes, busy ones among them. So there are three rules of our own:
#   grow    by as many workers as the jobs (waiting and in hand) are worth, less those that are busy, each of which has
#           one job in hand. It only ever adds. What it added counts as there for the five minutes in which it starts.
#   empty   to none, once nothing has waited or been in hand for five minutes: nobody is busy then.
#   shrink  by half, once more than half of the workers have had nothing to do for a quarter of an hour, as when a
#           large batch is done and single recordings trickle in. This one may stop a busy worker. It gives its job back
#           as at any SIGTERM, and what is lost is what it did of the slice in hand.

resource "aws_ecs_service" "worker" {
  name             = "worker"
  cluster          = aws_ecs_cluster.this.id
  task_definition  = aws_ecs_task_definition.this["worker"].arn
  platform_version = "1.4.0"
  desired_count    = 0
  propagate_tags   = "SERVICE"

  # Workers do not serve anybody who cares in which zone they are, and evening them out would stop busy ones.
  availability_zone_rebalancing = "DISABLED"

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

  lifecycle {
    ignore_changes = [desired_count] # that is for the steps below to say
  }
}

resource "aws_appautoscaling_target" "workers" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.worker.name}"
  min_capacity       = 0
  max_capacity       = var.max_workers
}

locals {
  # What is missing, rounded down to 1, 2, 4, 8 …: the rest follows when those are at work.
  sizes = [for n in range(13) : pow(2, n) if pow(2, n) <= var.max_workers]

  # Steps are counted from the alarm's threshold, which is 1: what is missing, less 1.
  steps = {
    grow = [for size in local.sizes : {
      adjustment = size
      from       = size - 1
      to         = size == reverse(local.sizes)[0] ? null : 2 * size - 1
    }]
    empty  = [{ adjustment = 0, from = 0, to = null }]
    shrink = [{ adjustment = -50, from = 0, to = null }]
  }

  scaling = {
    grow = {
      description = "The jobs are worth more workers than are busy."
      expression  = "CEIL((waiting + held) / ${var.jobs_per_worker}) - held"
      minutes     = 1
      adjustment  = "ChangeInCapacity"
      cooldown_s  = 300
    }
    empty = {
      description = "There has been nothing to do for five minutes."
      expression  = "IF(waiting + held < 1, 1, 0)"
      minutes     = 5
      adjustment  = "ExactCapacity"
      cooldown_s  = 0
    }
    shrink = {
      description = "More than half of the workers have had nothing to do for a quarter of an hour."
      expression  = "IF(running > 2 * (waiting + held), 1, 0)"
      minutes     = 15
      adjustment  = "PercentChangeInCapacity"
      cooldown_s  = 900
    }
  }

  queue_metrics = {
    waiting = "ApproximateNumberOfMessagesVisible"
    held    = "ApproximateNumberOfMessagesNotVisible"
  }
}

resource "aws_appautoscaling_policy" "workers" {
  for_each = local.scaling

  name               = "${var.name}-${each.key}"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.workers.service_namespace
  scalable_dimension = aws_appautoscaling_target.workers.scalable_dimension
  resource_id        = aws_appautoscaling_target.workers.resource_id

  step_scaling_policy_configuration {
    adjustment_type         = each.value.adjustment
    cooldown                = each.value.cooldown_s
    metric_aggregation_type = "Maximum"

    dynamic "step_adjustment" {
      for_each = local.steps[each.key]

      content {
        scaling_adjustment          = step_adjustment.value.adjustment
        metric_interval_lower_bound = step_adjustment.value.from
        metric_interval_upper_bound = step_adjustment.value.to
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "scaling" {
  for_each = local.scaling

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = each.value.minutes
  treat_missing_data  = "notBreaching" # a queue that nobody touched for six hours has no metrics
  alarm_actions       = [aws_appautoscaling_policy.workers[each.key].arn]

  metric_query {
    id          = each.key
    expression  = each.value.expression
    label       = each.value.description
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.queue_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        dimensions  = { QueueName = local.queues.jobs }
        stat        = "Maximum"
        period      = 60
      }
    }
  }

  # Each running task reports its CPU once a minute, so the number of reports is the number of tasks. It is missing
  # where there are none, and an expression with it would be missing as a whole: only shrink may ask.
  dynamic "metric_query" {
    for_each = each.key == "shrink" ? ["running"] : []

    content {
      id = metric_query.value

      metric {
        namespace   = "AWS/ECS"
        metric_name = "CPUUtilization"
        dimensions  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.worker.name }
        stat        = "SampleCount"
        period      = 60
      }
    }
  }
}
