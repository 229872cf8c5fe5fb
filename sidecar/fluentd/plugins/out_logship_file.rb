# frozen_string_literal: true

# Fluentd's own `file` output, but a chunk always begins a line.
#
# A write that failed, on a full disk for example, and a SIGKILL leave half a line. Fluentd writes the
# chunk again, and would append its first record to that half. If the half is of the same record,
# nothing could read that record then.

require "fluent/plugin/out_file"
require_relative "logship_subclass"

module Fluent::Plugin
  class LogshipFileOutput < FileOutput
    Fluent::Plugin.register_output("logship_file", self)

    include Logship::Subclass

    def write_without_compression(path, chunk)
      File.write(path, "\n", mode: "ab") if torn?(path)
      super
    end

    private

    def torn?(path)
      size = File.size?(path)
      size && File.binread(path, 1, size - 1) != "\n"
    end
  end
end
