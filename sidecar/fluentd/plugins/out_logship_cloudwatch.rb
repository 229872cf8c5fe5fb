# frozen_string_literal: true

# The output of fluent-plugin-cloudwatch-logs, but a record that is too long as JSON is refused before
# the ack. The plugin notices only when it sends, and puts the whole chunk aside.

require_relative "logship_subclass"

module Fluent::Plugin
  class LogshipCloudwatchOutput < OUTPUT_REGISTRY.lookup("cloudwatch_logs")
    Fluent::Plugin.register_output("logship_cloudwatch", self)

    include Logship::Subclass

    EVENT_BYTES_MAX = 1_048_576 - 26 # CloudWatch Logs counts 26 bytes for what it adds to an event.
    GROWTH_MAX = 6 # A control character has one byte in msgpack, and six in JSON.

    def format(tag, time, record)
      entry = super
      check(tag, time, record) if entry.bytesize > EVENT_BYTES_MAX / GROWTH_MAX
      entry
    end

    private

    def check(tag, time, record)
      scrub_record!(record) # The plugin's own method. Without it, text that is not UTF-8 is an error.
      bytes = @formatter_proc.call(tag, time, record).bytesize
      return if bytes <= EVENT_BYTES_MAX

      raise Buffer::BufferChunkOverflowError,
            "a record has #{bytes} bytes as JSON, and CloudWatch Logs takes #{EVENT_BYTES_MAX}"
    end
  end
end
