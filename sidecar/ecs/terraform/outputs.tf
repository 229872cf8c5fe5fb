output "task_definition_arns" {
  description = "By kind: web and batch."
  value       = { for kind, definition in aws_ecs_task_definition.this : kind => definition.arn }
}
