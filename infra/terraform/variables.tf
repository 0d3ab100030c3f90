variable "image_tag" {
  description = "Tag of both images in their repositories. A tag cannot be pushed twice: take a version or a commit."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "A tag is made of letters, digits, '_', '.' and '-'; 'latest' says nothing about what runs."
  }
}

variable "name" {
  description = "What everything made here is called, or begins with."
  type        = string
  default     = "nightscribe"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "2 to 20 lower-case letters, digits and '-', beginning with a letter: names of buckets are made of it."
  }
}

variable "region" {
  description = "Region of everything made here. A recordings bucket in another one works, but its traffic costs."
  type        = string
  default     = "us-east-1"
}

# What is transcribed, and how

variable "recordings_bucket" {
  description = "A bucket that has the recordings already; null makes one."
  type        = string
  default     = null
}

variable "recordings_prefix" {
  description = "Folder in the recordings bucket, as calls/2012; empty for all of it. Nothing outside can be read."
  type        = string
  default     = ""

  validation {
    condition     = !startswith(var.recordings_prefix, "/") && !endswith(var.recordings_prefix, "/")
    error_message = "Without a slash at its beginning or end, as calls/2012."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the buckets made here, and that tasks may use; null for the key of S3 itself."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_arn))
    error_message = "The ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "delete_buckets_with_contents" {
  description = "Let terraform destroy delete the buckets made here with all that is in them."
  type        = bool
  default     = false
}

variable "model" {
  description = "Whisper model. The worker's image must have been built with it: there are no weights to fetch at run time."
  type        = string
  default     = "base"
}

variable "settings" {
  description = "More settings of director and workers, as { NIGHTSCRIBE_LANGUAGE = \"en\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^(NIGHTSCRIBE|OTEL)_[A-Z0-9_]+$", name))])
    error_message = "Names of settings begin with NIGHTSCRIBE_ or OTEL_; they are listed in README.md."
  }
}

variable "max_receives" {
  description = "How often a job is tried before it becomes a dead letter."
  type        = number
  default     = 3

  validation {
    condition     = var.max_receives >= 2
    error_message = "At least 2: a job whose worker was interrupted has been received once."
  }
}

# Workers

variable "max_workers" {
  description = "Most workers at a time. A region gives an account a number of Fargate-Spot vCPUs; see Service Quotas."
  type        = number
  default     = 20

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 5000 && floor(var.max_workers) == var.max_workers
    error_message = "A whole number from 1 to 5000."
  }
}

variable "jobs_per_worker" {
  description = "Jobs (of ten minutes of sound or so) that are worth another worker, which takes two minutes to start."
  type        = number
  default     = 4

  validation {
    condition     = var.jobs_per_worker >= 1
    error_message = "At least 1."
  }
}

variable "worker_cpu" {
  description = "CPU units of a worker; 1024 are one vCPU. Several small workers do more than a large one."
  type        = number
  default     = 1024

  validation {
    condition     = contains([1024, 2048, 4096, 8192], var.worker_cpu)
    error_message = "1024, 2048, 4096 or 8192."
  }
}

variable "worker_memory_mib" {
  description = "Memory of a worker; Fargate wants 2 to 8 GiB for one vCPU. base needs less than 2048, medium 8192."
  type        = number
  default     = 2048

  validation {
    condition = alltrue([
      var.worker_memory_mib >= 2 * var.worker_cpu,
      var.worker_memory_mib <= min(8 * var.worker_cpu, var.worker_cpu < 8192 ? 30720 : 61440),
      var.worker_memory_mib % (var.worker_cpu < 8192 ? 1024 : 4096) == 0,
    ])
    error_message = "Fargate takes 2 to 8 MiB for each CPU unit in steps of 1024, at most 30720; for 8192 units in steps of 4096, at most 61440."
  }
}

variable "cache_gb" {
  description = "Disk for recordings that are fetched from the bucket; more than the largest recording."
  type        = number
  default     = 5

  validation {
    condition     = var.cache_gb >= 1 && var.cache_gb <= 180
    error_message = "1 to 180: a task of Fargate has 200 GiB at most."
  }
}

# The director

variable "director" {
  description = "When recordings are compared with transcripts: \"scheduled\" (again and again), \"watch\" (all the time)."
  type        = string
  default     = "scheduled"

  validation {
    condition     = contains(["scheduled", "watch"], var.director)
    error_message = "\"scheduled\" or \"watch\"."
  }
}

variable "director_schedule" {
  description = "When a scheduled director starts, as EventBridge Scheduler writes it: rate(1 hour), cron(0 22 * * ? *) (UTC)."
  type        = string
  default     = "rate(1 hour)"

  validation {
    condition     = can(regex("^(rate|cron|at)\\(.+\\)$", var.director_schedule))
    error_message = "rate(…), cron(…) or at(…)."
  }
}

# The network

variable "vpc_id" {
  description = "Where tasks run; null for the default VPC."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of that VPC; empty for all of them."
  type        = list(string)
  default     = []
}

variable "assign_public_ip" {
  description = "Give tasks a public address (nobody can connect to it). In subnets with a NAT gateway, say false."
  type        = bool
  default     = true
}

variable "endpoints" {
  description = "Make endpoints for S3 (free) and SQS (by the hour) in the VPC, for subnets whose NAT gateway charges by the GB."
  type        = bool
  default     = false
}

variable "egress_ports" {
  description = "Ports that tasks may connect to: 443 is AWS; a collector of traces has its own."
  type        = set(number)
  default     = [443]
}

# What is said about it

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "CloudWatch takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731 days."
  }
}

variable "alarm_email" {
  description = "Who is told of alarms; null for nobody. Amazon asks that address to confirm."
  type        = string
  default     = null
}

variable "alarm_age_h" {
  description = "Age of the oldest job that is worth an alarm: longer than a night's work waits, shorter than the two weeks it is kept."
  type        = number
  default     = 24

  validation {
    condition     = var.alarm_age_h > 0 && var.alarm_age_h < 336
    error_message = "More than 0 and less than 336 hours: after two weeks SQS forgets a message."
  }
}
