# frozen_string_literal: true

# Drops duplicates, and warns of missing records.
#
# logship delivers at least once: records that were not acked are sent again, with the same stamps.
# This plugin is between the input and the real output. It passes each stamped record on once, and
# writes to Fluentd's log when numbers of a stream are missing that no gap record declares.
#
#   <match **>
#     @type logship_dedup
#     @label @OUTPUT
#   </match>
#
# It is an output that passes records to a label, and not a filter, because a number may count as
# seen only after the output's buffer has taken the record. A filter does not learn what happens
# afterwards: if the buffer refuses a chunk, the filter would drop the resend as a duplicate. For the
# same reason one chunk is passed on at a time.
#
# Its state is in the memory of one worker. After a restart, records without an ack may come twice.
#
# When Fluentd ends, it lets the outputs of that label send what waits for a retry. The label must be
# further down in the file: Fluentd ends labels in their order.

require "fluent/plugin/output"
require_relative "logship_last_flush"
require_relative "logship_streams"

module Fluent::Plugin
  class LogshipDedupOutput < Output
    Fluent::Plugin.register_output("logship_dedup", self)

    helpers :event_emitter, :timer

    RANGES_SHOWN_MAX = 10

    desc "The field that holds the stamp: logship's setting stamp_key."
    config_param :stamp_key, :string, default: "logship_id"
    desc "How many streams are remembered. Beyond that, the longest silent one is forgotten."
    config_param :streams_max, :integer, default: 10_000
    desc "A stream is forgotten after this time without a record."
    config_param :silence, :time, default: 3600
    desc "How many ranges of numbers a stream keeps. Beyond that, the lowest is forgotten."
    config_param :ranges_max, :integer, default: 1000
    desc "How long higher numbers are here before a number counts as missing: longer than the " \
         "client's ack timeout, 90 seconds, after which the client sends again."
    config_param :gap_wait, :time, default: 120
    desc "How often the plugin looks for missing numbers and silent streams."
    config_param :check_interval, :time, default: 10

    def configure(conf)
      super
      { streams_max: @streams_max, ranges_max: @ranges_max }.each do |name, value|
        raise Fluent::ConfigError, "#{name} #{value}: must be at least 1" if value < 1
      end
      raise Fluent::ConfigError, "@label: name the label of the real output" unless conf["@label"]

      @behind = Fluent::Engine.root_agent.find_label(conf["@label"])
      warn_of_workers(conf)
      @mutex = Mutex.new
      @streams = Logship::Streams.new(
        stamp_key: @stamp_key, streams_max: @streams_max, ranges_max: @ranges_max, silence: @silence
      )
    end

    def multi_workers_ready?
      true
    end

    def start
      super
      timer_execute(:logship_dedup_check, @check_interval) { @mutex.synchronize { check(now) } }
    end

    # Fluentd ends: the inputs have ended already, and the outputs behind this one end after it.
    def before_shutdown
      super
      Logship::LastFlush.run(@behind.outputs)
    end

    # Fluentd ends: report missing numbers now, without waiting longer.
    def close
      @mutex.synchronize { @streams.each { |stream| tell(stream, stream.seen.max || 0) } }
      super
    end

    def process(tag, events)
      @mutex.synchronize do
        batch = @streams.batch
        fresh = without_duplicates(events, batch)
        router.emit_stream(tag, fresh) unless fresh.empty? # if it raises, no number counts as seen
        @streams.commit(batch, tag, now) { |stream| greet(stream) }
        forget(now)
      end
    end

    private

    # Returns the same events if none is a duplicate, so that they need not be packed again.
    def without_duplicates(events, batch)
      fresh = Fluent::MultiEventStream.new
      total = 0
      events.each do |time, record|
        total += 1
        fresh.add(time, record) if @streams.fresh?(record, batch)
      end
      fresh.size == total ? events : fresh
    end

    def check(now)
      @streams.each { |stream| tell(stream, stream.horizon(now, @gap_wait)) }
      forget(now)
    end

    def forget(now)
      @streams.expire(now).each { |stream| tell(stream, stream.seen.max || 0) }
    end

    def greet(stream)
      return if stream.complete_from == 1

      log.info "stream is not known from its beginning",
               stream: stream.id, tag: stream.tag, from: stream.complete_from
    end

    def tell(stream, horizon)
      tell_missing(stream, stream.missing(horizon))
      return if stream.duplicates.zero?

      log.info "dropped duplicates", stream: stream.id, tag: stream.tag, count: stream.duplicates
      stream.duplicates = 0
    end

    def tell_missing(stream, ranges)
      return if ranges.empty?

      log.warn "records are missing that no gap declares",
               stream: stream.id,
               tag: stream.tag,
               count: ranges.sum { |first, last| last - first + 1 },
               numbers: as_text(ranges)
    end

    def as_text(ranges)
      shown = ranges.first(RANGES_SHOWN_MAX).map do |first, last|
        first == last ? first.to_s : "#{first}-#{last}"
      end
      shown << "and #{ranges.size - RANGES_SHOWN_MAX} more ranges" if ranges.size > RANGES_SHOWN_MAX
      shown.join(", ")
    end

    def warn_of_workers(conf)
      return if system_config.workers <= 1 || !conf.for_every_workers?

      log.warn "each worker knows only what it took itself: a chunk that is sent again to another" \
               " worker passes twice; put the forward input and this into a <worker 0> section"
    end

    def now
      Fluent::Clock.now
    end
  end
end
