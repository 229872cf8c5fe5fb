# The task definitions are ../web.json and ../batch.json, the same documents as for the AWS CLI.
# This file only fills in their variables and makes the roles.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80"
    }
  }
}

locals {
  definitions = {
    for kind in toset(["web", "batch"]) : kind => jsondecode(templatefile("${path.module}/../${kind}.json", {
      CPU_ARCHITECTURE   = var.cpu_architecture
      APP_IMAGE          = var.app_image
      SIDECAR_IMAGE      = var.sidecar_image
      LOG_GROUP          = aws_cloudwatch_log_group.containers.name
      LOG_BUCKET         = var.log_bucket
      REGION             = var.region
      # The roles are set below. Before the first apply their ARNs are unknown, and one unknown
      # value makes the whole document unknown: the plan would show nothing to read or to lint.
      EXECUTION_ROLE_ARN = ""
      TASK_ROLE_ARN      = ""
    }))
  }
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.definitions

  family                   = each.value.family
  requires_compatibilities = each.value.requiresCompatibilities
  network_mode             = each.value.networkMode
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(each.value.containerDefinitions)

  runtime_platform {
    operating_system_family = each.value.runtimePlatform.operatingSystemFamily
    cpu_architecture        = each.value.runtimePlatform.cpuArchitecture
  }

  dynamic "volume" {
    for_each = each.value.volumes
    content {
      name = volume.value.name
    }
  }
}

# The containers' own output: Fluentd's log, and the records that logship spills as a last resort.
resource "aws_cloudwatch_log_group" "containers" {
  name              = var.log_group
  retention_in_days = 30
}
