# Tasks connect to AWS and nobody connects to them. Without further ado they run in the default VPC.

data "aws_vpc" "this" {
  id      = var.vpc_id
  default = var.vpc_id == null ? true : null
}

data "aws_subnets" "all" {
  count = length(var.subnet_ids) == 0 ? 1 : 0

  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }
}

locals {
  subnet_ids = length(var.subnet_ids) == 0 ? data.aws_subnets.all[0].ids : var.subnet_ids
}

resource "aws_security_group" "task" {
  name        = "${var.name}-task"
  description = "Out to AWS, nothing in"
  vpc_id      = data.aws_vpc.this.id
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = toset([for port in var.egress_ports : tostring(port)])

  security_group_id = aws_security_group.task.id
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  cidr_ipv4         = "0.0.0.0/0"
}

# Endpoints, if asked for

data "aws_route_tables" "this" {
  count = var.endpoints ? 1 : 0

  vpc_id = data.aws_vpc.this.id
}

resource "aws_vpc_endpoint" "s3" {
  count = var.endpoints ? 1 : 0

  vpc_id            = data.aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = data.aws_route_tables.this[0].ids
}

resource "aws_vpc_endpoint" "sqs" {
  count = var.endpoints ? 1 : 0

  vpc_id              = data.aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.sqs"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.subnet_ids
  security_group_ids  = [aws_security_group.endpoint[0].id]
  private_dns_enabled = true
}

resource "aws_security_group" "endpoint" {
  count = var.endpoints ? 1 : 0

  name        = "${var.name}-endpoint"
  description = "In from the VPC"
  vpc_id      = data.aws_vpc.this.id
}

# Whoever asks for SQS in this VPC is sent to the endpoint, not the tasks alone.
resource "aws_vpc_security_group_ingress_rule" "endpoint" {
  count = var.endpoints ? 1 : 0

  security_group_id = aws_security_group.endpoint[0].id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = data.aws_vpc.this.cidr_block
}
