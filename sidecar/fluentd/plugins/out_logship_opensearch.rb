# frozen_string_literal: true

# The bulk API of OpenSearch and Elasticsearch: an action and a document for each record.
#
# The stamp is the document's `_id`, so a record that is sent again is not stored again. If an index
# refuses documents because it is busy, the chunk is sent again; what it has already, it calls a
# conflict. If it refuses them for good, the chunk is put aside, and the others of it are stored.

require_relative "logship_http"

module Fluent::Plugin
  class LogshipOpensearchOutput < LogshipHttpOutput
    Fluent::Plugin.register_output("logship_opensearch", self)

    PATH = "/_bulk"
    CONFLICT = 409

    desc "What the names of the indices begin with; the day follows, in UTC."
    config_param :index, :string

    def format(tag, time, record)
      id = record["logship_id"]
      meta = { "_index" => "#{@index}-#{day(time)}", "_id" => id }.compact
      @formatter.format(tag, time, { "create" => meta }) + super
    end

    private

    def entry(time, record)
      at = Time.at(0, nanoseconds(time), :nanosecond, in: "UTC")
      record.merge("@timestamp" => at.strftime("%Y-%m-%dT%H:%M:%S.%NZ"))
    end

    def day(time)
      Time.at(time.to_i, in: "UTC").strftime("%Y.%m.%d")
    end

    def check(text)
      answer = JSON.parse(text)
      return unless answer["errors"]

      refused = answer["items"].flat_map(&:values).select { |item| refused?(item["status"]) }
      return if refused.empty?

      item = refused.find { |each| again?(each["status"]) } || refused.first
      raise again?(item["status"]) ? RetryableResponse : Fluent::UnrecoverableError,
            "#{refused.size} documents were refused, one of them so: #{item.to_json}"
    end

    def refused?(status)
      status >= 300 && status != CONFLICT
    end

    def again?(status)
      @retryable_response_codes.include?(status)
    end
  end
end
