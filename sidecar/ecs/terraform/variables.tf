variable "app_image" {
  description = "Your application, with logship in it. Its user 10001 owns /var/spool/logship, a VOLUME."
  type        = string
}

variable "sidecar_image" {
  description = "Built from sidecar/fluentd with --build-arg PLUGINS=\"fluent-plugin-s3:1.8.5\"."
  type        = string
}

variable "cpu_architecture" {
  description = "X86_64, or ARM64 for Graviton: what both images are built for."
  type        = string
  default     = "X86_64"
}

variable "repository_arns" {
  description = "The ECR repositories of both images: all that the task may pull from."
  type        = list(string)
}

variable "log_bucket" {
  description = "The S3 bucket for the logs, which exists already."
  type        = string
}

variable "log_group" {
  description = "CloudWatch log group of the containers' own stderr."
  type        = string
  default     = "/ecs/logship"
}

variable "region" {
  description = "Of the log group and the bucket."
  type        = string
}
