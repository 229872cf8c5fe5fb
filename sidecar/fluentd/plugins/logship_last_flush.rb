# frozen_string_literal: true

# Lets an output send what it has when Fluentd ends, also if it waits for a retry.
#
# At its end Fluentd sends what it has only as long as no attempt has failed. While an output waits
# for a retry, it sends nothing, although the destination may be back. The records stay in the files
# of the buffer, and if these end with the container, the records are lost.
#
# So the wait is ended here, once. If that attempt fails too, the records stay in the files. This
# needs one private thing of Fluentd, the time of the next retry. A Fluentd that has it elsewhere
# ends as it would without this.

module Logship
  class LastFlush
    # If no chunk leaves the buffer in this time, Fluentd goes on with its end. It is how long outputs
    # wait for an answer.
    STALL_SECONDS = 30
    # A wait that begins later is not ended: an attempt from before may have used up its 30 seconds,
    # and the sidecar has 40 to end.
    HURRY_SECONDS = 5
    PAUSE_SECONDS = 0.05

    # Waits until the outputs have sent what they have, or cannot.
    def self.run(plugins)
      outputs = plugins.select { |plugin| wanted?(plugin) }
      outputs.map { |output| Thread.new { new(output).run } }.each(&:join)
    end

    # An output that gives chunks up after some attempts would give them up sooner.
    def self.wanted?(plugin)
      return false unless plugin.respond_to?(:buffer) && plugin.buffer && !plugin.before_shutdown?

      plugin.buffer_config.flush_at_shutdown && plugin.buffer_config.retry_forever
    end

    def initialize(output, stall_seconds: STALL_SECONDS, hurry_seconds: HURRY_SECONDS)
      @output = output
      @buffer = output.buffer
      @stall_seconds = stall_seconds
      @hurry_until = now + hurry_seconds
    end

    def run
      @buffer.enqueue_all(true)
      until sent? || stalled?
        if waits?
          break if now > @hurry_until

          hurry
        end
        @output.submit_flush_once
        sleep PAUSE_SECONDS
      end
    end

    private

    # An output with acks, such as `forward`, reads the last ones later.
    def sent?
      !@buffer.queued? && (@output.delayed_commit || @buffer.queue_size.zero?)
    end

    def waits?
      time = @output.retry&.next_time
      time && time > Time.now
    end

    def hurry
      @hurry_until = now # not again
      @output.retry&.instance_variable_set(:@next_time, Time.now)
    end

    def stalled?
      left = [@buffer.queued_records, @buffer.queue_size]
      @left, @left_since = left, now if left != @left
      now - @left_since > @stall_seconds
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
