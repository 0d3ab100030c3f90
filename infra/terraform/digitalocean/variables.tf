variable "name" {
  description = "Name of the cluster and of everything that belongs to it."
  type        = string
  default     = "nightscribe"
}

variable "region" {
  description = "Region of cluster and database, such as fra1."
  type        = string
  default     = "fra1"
}

variable "spaces_region" {
  description = "Region of the buckets, such as fra1."
  type        = string
  default     = "fra1"
}

variable "bucket_prefix" {
  description = "Beginning of the buckets' names, which must be unique in a region: PREFIX-recordings and PREFIX-transcripts."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,48}$", var.bucket_prefix))
    error_message = "Give 3 to 49 lower-case letters, digits and hyphens, and begin with a letter or digit."
  }
}

variable "registry" {
  description = "Name of the container registry; it must be unique in DigitalOcean."
  type        = string
}

variable "registry_region" {
  description = "Region of the registry."
  type        = string
  default     = "fra1"
}

variable "kubernetes_version" {
  description = "Beginning of the version of Kubernetes; the newest patch is used."
  type        = string
  default     = "1."
}

variable "highly_available" {
  description = "Whether the control plane has more than one node, at a price."
  type        = bool
  default     = false
}

variable "admin_addresses" {
  description = "Addresses that may reach the cluster's API, such as [\"203.0.113.7/32\"]; empty for any."
  type        = list(string)
  default     = []
}

variable "base_size" {
  description = "Size of the nodes for queue, director, server and monitoring."
  type        = string
  default     = "s-2vcpu-4gb"
}

variable "base_nodes" {
  description = "Number of these nodes; three keep the server's replicas apart."
  type        = number
  default     = 3
}

variable "worker_size" {
  description = "Size of the nodes for workers. A worker takes one core and 2 GiB."
  type        = string
  default     = "c-4"
}

variable "max_worker_nodes" {
  description = "Maximum number of nodes for workers."
  type        = number
  default     = 5
}

variable "workers_per_node" {
  description = "Number of workers that fit on one of these nodes, beside what Kubernetes needs itself."
  type        = number
  default     = 3
}

variable "database_size" {
  description = "Size of the PostgreSQL."
  type        = string
  default     = "db-s-1vcpu-1gb"
}

variable "delete_buckets_with_contents" {
  description = "Whether `terraform destroy` also deletes the recordings and transcripts."
  type        = bool
  default     = false
}
