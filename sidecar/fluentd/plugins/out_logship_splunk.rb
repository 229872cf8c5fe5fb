# frozen_string_literal: true

# Splunk's HTTP Event Collector: events one behind another.

require_relative "logship_http"

module Fluent::Plugin
  class LogshipSplunkOutput < LogshipHttpOutput
    Fluent::Plugin.register_output("logship_splunk", self)

    PATH = "/services/collector/event"

    desc "The collector's token."
    config_param :token, :string, secret: true
    desc "The events' source."
    config_param :source, :string

    private

    def entry(time, record)
      { "time" => time.to_f, "source" => @source, "sourcetype" => "_json", "event" => record }
    end

    def destination_headers
      { "Authorization" => "Splunk #{@token}" }
    end
  end
end
