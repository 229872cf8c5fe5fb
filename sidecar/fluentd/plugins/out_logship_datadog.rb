# frozen_string_literal: true

# Datadog's API for logs: a list of records, each with its service and source.

require_relative "logship_http"

module Fluent::Plugin
  class LogshipDatadogOutput < LogshipHttpOutput
    Fluent::Plugin.register_output("logship_datadog", self)

    PATH = "/api/v2/logs"

    desc "The API key."
    config_param :api_key, :string, secret: true
    desc "The logs' service."
    config_param :service, :string

    def body(lines)
      "[#{as_list(lines)}]"
    end

    private

    # A record's own service and source stay. Its own time must not become Datadog's.
    def entry(time, record)
      own = record.transform_keys("timestamp" => "record_timestamp")
      milliseconds = nanoseconds(time) / 1_000_000
      { "service" => @service, "ddsource" => "logship", **own, "timestamp" => milliseconds }
    end

    def destination_headers
      { "DD-API-KEY" => @api_key }
    end
  end
end
