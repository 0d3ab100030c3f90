# A fleet on AWS: a queue, two buckets, a director, and Fargate-Spot workers from none to as many as there is work for.
# docs/aws.md goes through it step by step.

terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0" # the one this is validated and tested with
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Project = var.name }
  }
}

data "aws_caller_identity" "current" {}
