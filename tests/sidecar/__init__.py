"""What is deployed beside an application: Fluentd's and Fluent Bit's configurations, task files."""
