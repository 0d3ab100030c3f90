output "queue_url" {
  description = "The queue, as NIGHTSCRIBE_QUEUE_NAME takes it."
  value       = aws_sqs_queue.this["jobs"].url
}

output "dead_letter_queue_url" {
  description = "Where jobs go that were tried in vain."
  value       = aws_sqs_queue.this["dead"].url
}

output "source" {
  description = "Where recordings are."
  value       = local.source
}

output "dest" {
  description = "Where transcripts go."
  value       = local.dest
}

output "repositories" {
  description = "Where the images go."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "next" {
  description = "What to type next."
  value = join("\n", concat(
    ["# In the project's folder, both images:"],
    ["aws ecr get-login-password --region ${var.region} | docker login --username AWS --password-stdin ${split("/", aws_ecr_repository.this["worker"].repository_url)[0]}"],
    flatten([for name, repository in aws_ecr_repository.this : [
      "docker build --platform linux/amd64 -f infra/Dockerfile --target ${name} --build-arg MODEL=${var.model} -t ${repository.repository_url}:${var.image_tag} .",
      "docker push ${repository.repository_url}:${var.image_tag}",
    ]]),
    ["", "# Recordings up; the director ${var.director == "watch" ? "that watches" : "that is scheduled"} finds them:"],
    ["aws s3 sync ~/recordings ${local.source}"],
    ["", "# How far it is:"],
    ["AWS_DEFAULT_REGION=${var.region} NIGHTSCRIBE_QUEUE_NAME=${local.queues.jobs} nightscribe status ${local.dest} --watch"],
    ["aws logs tail /${var.name} --region ${var.region} --follow"],
    ["", "# Transcripts down:"],
    ["aws s3 sync ${local.dest} ~/transcripts --exclude '.nightscribe/*'"],
  ))
}
