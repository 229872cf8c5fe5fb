# frozen_string_literal: true

# An OpenTelemetry collector: OTLP over HTTP, as JSON. Level, trace and span become fields of OTLP.

require_relative "logship_http"

module Fluent::Plugin
  class LogshipOtlpOutput < LogshipHttpOutput
    Fluent::Plugin.register_output("logship_otlp", self)

    PATH = "/v1/logs"

    desc "The resource's service.name."
    config_param :service, :string

    def body(lines)
      resource = { "attributes" => [attribute("service.name", @service)] }.to_json
      %({"resourceLogs":[{"resource":#{resource},"scopeLogs":[{"logRecords":[#{as_list(lines)}]}]}]})
    end

    private

    def entry(time, record)
      message = record.key?("message") ? record["message"] : record
      attributes = record.key?("message") ? record.except("message") : {}
      {
        "timeUnixNano" => nanoseconds(time).to_s,
        "severityText" => record["level"]&.to_s,
        "severityNumber" => (record["severity_number"] if record["severity_number"].is_a?(Integer)),
        "traceId" => hex(record["trace_id"], 32),
        "spanId" => hex(record["span_id"], 16),
        "body" => value(message),
        "attributes" => attributes.map { |key, each| attribute(key, each) }
      }.compact
    end

    def hex(text, length)
      text if text.is_a?(String) && text.match?(/\A\h{#{length}}\z/)
    end

    def attribute(key, content)
      { "key" => key.to_s, "value" => value(content) }
    end

    # Returns a value of one of OTLP's kinds; in JSON a whole number is a text. Above int64 it
    # is a text for OTLP too: for an intValue a collector would refuse the whole chunk.
    def value(content)
      case content
      when Integer then { content.bit_length < 64 ? "intValue" : "stringValue" => content.to_s }
      when Float then { "doubleValue" => content }
      when true, false then { "boolValue" => content }
      when Array then { "arrayValue" => { "values" => content.map { |each| value(each) } } }
      when Hash then { "kvlistValue" => { "values" => content.map { |key, each| attribute(key, each) } } }
      when nil then {}
      else { "stringValue" => content.to_s }
      end
    end

    def check(text)
      return if text.to_s.empty? # some servers leave out what would say that all is well

      refused = JSON.parse(text)["partialSuccess"].to_h
      return unless refused["rejectedLogRecords"].to_i.positive?

      raise Fluent::UnrecoverableError, "records were refused: #{refused.to_json}"
    end
  end
end
