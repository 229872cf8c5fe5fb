# frozen_string_literal: true

# What the outputs over HTTP share: Fluentd's own `http` output, with the requests of a destination.
#
# A chunk has one line of JSON for each record, as the destination wants the record. So the bounds of
# the <buffer> are bounds of a request, what cannot be written as JSON is refused before the ack, and
# a chunk that was put aside can be read.

require "fluent/plugin/out_http"
require_relative "logship_subclass"

module Fluent::Plugin
  # Subclasses define PATH and `entry`, and override `body`, `destination_headers` and `check`.
  class LogshipHttpOutput < HTTPOutput
    include Logship::Subclass

    desc "The destination's name or address."
    config_param :host, :string
    desc "Its port."
    config_param :port, :integer
    desc "Whether it speaks TLS."
    config_param :tls, :bool, default: true
    desc "For basic authentication."
    config_param :user, :string, default: nil
    desc "For basic authentication."
    config_param :password, :string, default: nil, secret: true

    def configure(conf)
      scheme = Fluent::Config.bool_value(conf["tls"]) == false ? "http" : "https"
      conf["endpoint"] = "#{scheme}://#{conf["host"]}:#{conf["port"]}#{self.class::PATH}"
      super
      @headers = destination_headers
      @headers["Authorization"] ||= "Basic #{["#{@user}:#{@password}"].pack("m0")}" if @user
    end

    def format(tag, time, record)
      super(tag, time, entry(time, record))
    end

    def write(chunk)
      output = self
      chunk.define_singleton_method(:read) { |**options| output.body(super(**options)) }
      super
    end

    # Returns a request's content for the lines of a chunk.
    def body(lines)
      lines
    end

    private

    # Returns headers with what the destination asks for.
    def destination_headers
      {}
    end

    # Raises an error if an answer says in its text that records were refused.
    def check(text); end

    def make_request(*)
      answer = super
      check(answer.body) if answer.is_a?(Net::HTTPSuccess)
      answer
    end

    def as_list(lines)
      lines.chomp.tr("\n", ",") # within JSON, a line break is written as \n
    end

    def nanoseconds(time)
      (time.to_i * 1_000_000_000) + (time.is_a?(Fluent::EventTime) ? time.nsec : 0)
    end
  end
end
