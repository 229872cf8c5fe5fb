"""The loss benchmark in containers: the task of `docker-compose.yml`, beside FireLens' way."""
