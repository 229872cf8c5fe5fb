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

    def entry(time, record)
      milliseconds = nanoseconds(time) / 1_000_000
      record.merge("timestamp" => milliseconds, "service" => @service, "ddsource" => "logship")
    end

    def destination_headers
      { "DD-API-KEY" => @api_key }
    end
  end
end
