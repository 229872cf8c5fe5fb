# frozen_string_literal: true

# The output of fluent-plugin-kinesis, but a record that it leaves out is refused before the ack.

require_relative "logship_subclass"

module Fluent::Plugin
  class LogshipFirehoseOutput < OUTPUT_REGISTRY.lookup("kinesis_firehose")
    Fluent::Plugin.register_output("logship_firehose", self)

    include Logship::Subclass

    # The plugin makes an empty text of a record that is longer than it sends.
    def format(tag, time, record)
      entry = super
      raise Buffer::BufferChunkOverflowError, "a record is too long for Firehose" if entry.empty?

      entry
    end
  end
end
