# frozen_string_literal: true

# ruby test/test_logship_streams.rb

require "set"
require "test/unit"
require_relative "../plugins/logship_streams"

class TestIntervalSet < Test::Unit::TestCase
  def test_agrees_with_a_plain_set_whatever_is_added
    random = Random.new(7)
    300.times do
      intervals, plain = Logship::IntervalSet.new, Set.new
      40.times do
        first = random.rand(1..60)
        last = first + random.rand(0..5)
        intervals.add(first, last)
        plain.merge(first..last)
        assert_equal((0..70).select { |number| plain.include?(number) },
                     (0..70).select { |number| intervals.include?(number) })
        assert_ranges_apart(intervals)
      end
      holes = intervals.holes(10, 50).flat_map { |from, to| (from..to).to_a }
      assert_equal((10..50).reject { |number| plain.include?(number) }, holes)
    end
  end

  def test_what_arrives_in_order_is_one_range
    intervals = Logship::IntervalSet.new
    (1..10_000).each { |number| intervals.add(number) }
    assert_equal([[1, 10_000]], intervals.to_a)
  end

  def test_an_empty_set_is_one_hole
    assert_equal([[3, 9]], Logship::IntervalSet.new.holes(3, 9))
    assert_equal([], Logship::IntervalSet.new.holes(3, 2))
  end

  private

  def assert_ranges_apart(intervals)
    intervals.each_cons(2) { |(_, last), (first, _)| assert_operator(first, :>, last + 1) }
  end
end

class TestStreams < Test::Unit::TestCase
  STREAM = "KjRTJ0mD-YV2"

  def setup
    @streams = new_streams
  end

  def new_streams(**options)
    defaults = { stamp_key: "logship_id", streams_max: 100, ranges_max: 50, silence: 3600 }
    Logship::Streams.new(**defaults, **options)
  end

  def record(number, stream = STREAM, **more)
    { "logship_id" => format("%s:%010d", stream, number), **more }
  end

  # Passes records on as the plugin does; returns those that were new.
  def pass(*records, now: 0, streams: @streams)
    batch = streams.batch
    fresh = records.select { |each| streams.fresh?(each, batch) }
    streams.commit(batch, "web", now) { |stream| stream }
    fresh
  end

  def only
    @streams.to_enum(:each).first
  end

  def test_the_second_copy_is_dropped
    assert_equal(3, pass(record(1), record(2), record(3)).size)
    assert_equal([record(4)], pass(record(2), record(3), record(4)))
    assert_equal(2, only.duplicates)
  end

  def test_a_copy_in_the_same_chunk_is_dropped
    assert_equal([record(1), record(2)], pass(record(1), record(2), record(1)))
  end

  def test_a_batch_that_is_let_go_counts_for_nothing
    batch = @streams.batch
    assert(@streams.fresh?(record(1), batch))
    assert_equal([record(1)], pass(record(1)))
  end

  def test_streams_do_not_meet
    assert_equal(2, pass(record(1), record(1, "AAAAAAAAAAAA")).size)
  end

  def test_what_has_no_stamp_passes_every_time
    odd = [{}, { "logship_id" => 7 }, { "logship_id" => "x" }, { "logship_id" => nil },
           { "logship_id" => "#{STREAM}:1" }, { "logship_id" => "a\n#{STREAM}:0000000001" }, "text", nil]
    assert_equal(odd, pass(*odd))
    assert_equal(odd, pass(*odd))
    assert_equal(0, @streams.size)
  end

  def test_a_stamp_that_is_no_utf_8_is_no_stamp
    odd = { "logship_id" => ("\xff" * 23).force_encoding("UTF-8") }
    assert_equal([odd], pass(odd))
  end

  def test_a_binary_stamp_is_read
    binary = { "logship_id" => record(1)["logship_id"].b }
    assert_equal([binary], pass(binary))
    assert_equal([], pass(record(1)))
  end

  def test_a_hole_is_missing_once_and_only_after_the_wait
    pass(record(1), record(2), record(6), now: 0)
    assert_equal(0, only.horizon(0, 120))
    pass(record(9), now: 60)
    assert_equal(0, only.horizon(60, 120))
    assert_equal(6, only.horizon(130, 120))
    assert_equal([[3, 5]], only.missing(6))
    assert_equal([], only.missing(6))
    assert_equal(9, only.horizon(200, 120))
    assert_equal([[7, 8]], only.missing(9))
  end

  def test_what_was_told_as_missing_is_still_taken
    pass(record(1), record(3))
    only.missing(3)
    assert_equal([record(2)], pass(record(2)))
  end

  def test_a_declared_gap_is_no_loss_and_may_still_arrive
    pass(record(1), record(5, "logship_gap" => [2, 3, "spilled"]))
    assert_equal([[4, 4]], only.missing(5))
    assert_equal([record(2)], pass(record(2)))
    assert_equal([], pass(record(2)))
  end

  def test_a_nonsensical_gap_declares_nothing
    [7, [], [3], [3, 2, "x"], ["2", "3", "x"], [0, 9, "x"], nil].each_with_index do |gap, index|
      pass(record(10 + index, "logship_gap" => gap))
    end
    pass(record(1))
    assert_equal(10, only.complete_from)
    assert_equal([], only.missing(16))
  end

  def test_a_stream_that_began_before_us_has_no_hole_there
    pass(record(100), record(102))
    assert_equal([[101, 101]], only.missing(102))
  end

  def test_a_stream_of_a_thousand_holes_stays_within_its_bound_and_drops_nothing_new
    odd = (1..1001).step(2).map { |number| record(number) }
    assert_equal(odd, pass(*odd))
    assert_equal(50, only.seen.size)
    even = (2..1000).step(2).map { |number| record(number) }
    assert_equal(even, pass(*even))
    assert_operator(only.seen.size, :<=, 50)
  end

  def test_forgotten_ranges_are_not_told_as_missing
    pass(*(1..201).step(2).map { |number| record(number) })
    assert_equal(50, only.seen.size)
    assert_equal(only.seen.min - 1, only.complete_from)
    assert_operator(only.missing(201).size, :<=, 50)
  end

  def test_silent_streams_are_forgotten_and_returned
    pass(record(1, "AAAAAAAAAAAA"), now: 0)
    pass(record(1, "BBBBBBBBBBBB"), now: 3000)
    assert_equal(["AAAAAAAAAAAA"], @streams.expire(3600).map(&:id))
    assert_equal(1, @streams.size)
    assert_equal([], @streams.expire(3601))
  end

  def test_of_too_many_streams_the_one_that_was_silent_longest_is_forgotten
    streams = new_streams(streams_max: 2)
    ids = %w[AAAAAAAAAAAA BBBBBBBBBBBB CCCCCCCCCCCC]
    ids.each { |id| pass(record(1, id), streams: streams) }
    pass(record(2, ids[0]), now: 1, streams: streams)
    assert_equal([ids[1]], streams.expire(1).map(&:id))
    assert_equal([], pass(record(1, ids[0]), streams: streams))
    assert_equal([record(1, ids[1])], pass(record(1, ids[1]), streams: streams))
  end

  def test_another_stamp_key
    streams = new_streams(stamp_key: "id")
    stamped = { "id" => "#{STREAM}:0000000001" }
    assert_equal([stamped], pass(stamped, streams: streams))
    assert_equal([], pass(stamped, streams: streams))
  end
end
