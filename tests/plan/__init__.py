"""`logship plan`: sizes and costs of a deployment."""
