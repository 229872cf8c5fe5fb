# frozen_string_literal: true

# ruby test/test_logship_last_flush.rb

require "test/unit"
require_relative "../plugins/logship_last_flush"

# What of an output matters at the end. Each element of `outcomes` is what an attempt does with a chunk.
class FakeOutput
  Retry = Struct.new(:steps) do
    attr_reader :next_time

    def initialize(*)
      super
      @next_time = Time.now + 3600
    end
  end
  Config = Struct.new(:flush_at_shutdown, :retry_forever)

  attr_reader :retry, :attempts
  attr_accessor :delayed_commit, :buffer_config, :staged, :queued, :unanswered

  def initialize(outcomes, waits: true, staged: 0, queued: 3)
    @outcomes = outcomes
    @retry = Retry.new(1) if waits
    @staged, @queued, @unanswered, @attempts = staged, queued, 0, 0
    @buffer_config = Config.new(true, true)
  end

  def before_shutdown? = false
  def buffer = self
  def queued? = @queued.positive?
  def queued_records = @queued
  def queue_size = @queued + @unanswered

  def enqueue_all(force)
    raise ArgumentError unless force

    @queued += @staged
    @staged = 0
  end

  def submit_flush_once
    return if @queued.zero? || (@retry && @retry.next_time > Time.now)

    @attempts += 1
    case @outcomes.size > 1 ? @outcomes.shift : @outcomes.first
    when :sent then @queued, @retry = @queued - 1, nil
    when :unanswered then @queued, @unanswered = @queued - 1, @unanswered + 1
    when :failed then @retry = Retry.new(2)
    end
  end
end

class TestLastFlush < Test::Unit::TestCase
  def run_to_end(output, **options)
    Logship::LastFlush.new(output, **options).run
    output
  end

  def test_what_waits_for_a_retry_is_sent_at_once
    assert_equal(0, run_to_end(FakeOutput.new([:sent])).queued)
  end

  def test_what_is_in_no_queue_yet_is_sent_too
    assert_equal(0, run_to_end(FakeOutput.new([:sent], waits: false, staged: 2)).queued)
  end

  def test_a_wait_is_ended_once
    output = run_to_end(FakeOutput.new([:failed]))
    assert_equal([1, 3], [output.attempts, output.queued])
  end

  def test_an_attempt_from_before_is_not_the_last
    output = run_to_end(FakeOutput.new(%i[failed sent], waits: false))
    assert_equal(0, output.queued)
  end

  def test_a_wait_that_begins_late_is_not_ended
    output = run_to_end(FakeOutput.new([:sent]), hurry_seconds: -1)
    assert_equal([0, 3], [output.attempts, output.queued])
  end

  def test_an_answer_is_waited_for_but_not_for_ever
    output = run_to_end(FakeOutput.new([:unanswered], queued: 1), stall_seconds: 0.2)
    assert_equal([0, 1], [output.queued, output.unanswered])
  end

  def test_an_output_that_reads_its_acks_later_is_not_waited_for
    output = FakeOutput.new([:unanswered])
    output.delayed_commit = true
    assert_equal(3, run_to_end(output, stall_seconds: 3600).unanswered)
  end

  def test_an_output_that_hangs_does_not_hold_the_end
    output = run_to_end(FakeOutput.new([:hangs], waits: false), stall_seconds: 0.2)
    assert_equal(3, output.queued)
  end

  def test_another_version_of_a_retry_only_waits
    output = FakeOutput.new([:sent])
    output.retry.define_singleton_method(:next_time) { Time.now + 3600 }
    assert_equal([0, 3], [run_to_end(output).attempts, output.queued])
  end

  def test_only_outputs_that_keep_what_they_have_are_hurried
    wanted = FakeOutput.new([:sent])
    limited, without = FakeOutput.new([:sent]), FakeOutput.new([:sent])
    limited.buffer_config = FakeOutput::Config.new(true, false)
    without.buffer_config = FakeOutput::Config.new(false, true)
    ended, unbuffered = FakeOutput.new([:sent]), FakeOutput.new([:sent])
    ended.define_singleton_method(:before_shutdown?) { true }
    unbuffered.define_singleton_method(:buffer) { nil }
    plugins = [wanted, limited, without, ended, unbuffered, Object.new]
    Logship::LastFlush.run(plugins)
    assert_equal([1, 0, 0, 0, 0], plugins.first(5).map { |each| [each.attempts, 1].min })
  end
end
