# frozen_string_literal: true

# Loki's push API. The record is the line, as JSON; the labels are the service and the level.

require_relative "logship_http"

module Fluent::Plugin
  class LogshipLokiOutput < LogshipHttpOutput
    Fluent::Plugin.register_output("logship_loki", self)

    PATH = "/loki/api/v1/push"

    desc "The label service_name."
    config_param :service, :string
    desc "The header X-Scope-OrgID."
    config_param :tenant, :string, default: nil

    def body(lines)
      %({"streams":[#{as_list(lines)}]})
    end

    private

    def entry(time, record)
      labels = { "service_name" => @service, "level" => record["level"]&.to_s }.compact
      line = @formatter.format(nil, time, record).chomp
      { "stream" => labels, "values" => [[nanoseconds(time).to_s, line]] }
    end

    def destination_headers
      { "X-Scope-OrgID" => @tenant }.compact
    end
  end
end
