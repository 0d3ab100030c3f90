# What is made of the variables, without an account: `terraform init && terraform test`.
# tests/unit/test_terraform.py looks at the same runs, and compares them with the program.

mock_provider "aws" {
  source = "./tests"
}

override_resource {
  target = aws_sqs_queue.this["jobs"]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:nightscribe.fifo" }
}

override_resource {
  target = aws_sqs_queue.this["dead"]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:nightscribe-dead.fifo" }
}

variables {
  image_tag = "0.1.0"
}

run "scheduled" {
  assert {
    condition     = length(aws_scheduler_schedule.director) == 1 && length(aws_ecs_service.director) == 0
    error_message = "A scheduled director is no service."
  }

  assert {
    condition     = aws_ecs_service.worker.desired_count == 0 && aws_appautoscaling_target.workers.min_capacity == 0
    error_message = "Where there is nothing to do, nobody works."
  }

  assert {
    condition     = strcontains(output.next, "--target worker --build-arg MODEL=base ") && strcontains(output.next, "nightscribe status ${output.dest} --watch")
    error_message = "What to type next is about the model and the places that were chosen."
  }
}

run "watch" {
  variables {
    director          = "watch"
    recordings_bucket = "archive"
    recordings_prefix = "calls/2012"
    kms_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/0a"
    endpoints         = true
    max_workers       = 6
    worker_cpu        = 2048
    worker_memory_mib = 4096
    cache_gb          = 50
    alarm_email       = "you@example.com"
    settings          = { NIGHTSCRIBE_LANGUAGE = "vi" }
  }

  assert {
    condition     = length(aws_scheduler_schedule.director) == 0 && one(aws_ecs_service.director).desired_count == 1
    error_message = "A director that watches is a service, and nothing starts another."
  }

  assert {
    condition     = length(aws_s3_bucket.this) == 1 && contains(keys(aws_s3_bucket.this), "transcripts")
    error_message = "Nothing about somebody's own bucket is changed."
  }

  assert {
    condition     = output.source == "s3://archive/calls/2012"
    error_message = "Recordings come from the folder that was named."
  }
}

run "mistakes" {
  command = plan

  variables {
    image_tag          = "latest"
    name               = "Night_Scribe"
    settings           = { LANG = "en" }
    max_workers        = 0
    worker_memory_mib  = 512
    director           = "sometimes"
    director_schedule  = "hourly"
    recordings_prefix  = "/calls/"
    max_receives       = 1
    cache_gb           = 500
    alarm_age_h        = 400
    log_retention_days = 8
    kms_key_arn        = "alias/mine"
    jobs_per_worker    = 0
  }

  expect_failures = [
    var.image_tag, var.name, var.settings, var.max_workers, var.worker_memory_mib, var.director,
    var.director_schedule, var.recordings_prefix, var.max_receives, var.cache_gb, var.alarm_age_h,
    var.log_retention_days, var.kms_key_arn, var.jobs_per_worker,
  ]
}

# Eight MiB for each CPU unit are more than Fargate gives to four vCPUs.
run "too_much_memory" {
  command = plan

  variables {
    worker_cpu        = 4096
    worker_memory_mib = 32768
  }

  expect_failures = [var.worker_memory_mib]
}
